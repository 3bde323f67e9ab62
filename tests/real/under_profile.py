"""Runs a program under a container runtime's seccomp profile, as runc applies it: under_profile.py PROFILE PROGRAM ARGUMENTS..."""

import json
import os
import sys

import seccomp


def action(rule, default_errno):
    if rule["action"] == "SCMP_ACT_ALLOW":
        return seccomp.ALLOW
    assert rule["action"] == "SCMP_ACT_ERRNO", rule["action"]
    return seccomp.ERRNO(rule.get("errnoRet", default_errno))


def arguments(rule):
    for arg in rule.get("args", []):
        assert arg["op"] == "SCMP_CMP_MASKED_EQ", arg["op"]
        yield seccomp.Arg(arg["index"], seccomp.MASKED_EQ, arg["value"], arg["valueTwo"])


def main():
    profile, program, *rest = sys.argv[1:]
    with open(profile) as file:
        profile = json.load(file)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    default_errno = profile["defaultErrnoRet"]
    rules = seccomp.SyscallFilter(seccomp.ERRNO(default_errno))
    for rule in profile["syscalls"]:
        for name in rule["names"]:
            try:
                rules.add_rule(action(rule, default_errno), name, *arguments(rule))
            except (RuntimeError, ValueError):
                # Another architecture's, or newer than the library: runtimes leave these out, too.
                continue
    rules.load()
    os.execv(program, [program, *rest])


if __name__ == "__main__":
    main()
