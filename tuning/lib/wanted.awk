# What a setting should be, given what it is: the same, if that is good enough. Takes `spec`, a value as the profiles write
# it; `now`, what is; `ram_kib`, `page` and `cpus` of the machine; `ports`, to be added to a list of ports. Prints the value.
# Status 2 when the profile is wrong.

function number(text,   n, terms, i, op, value) {
    gsub(/[*\/]/, " & ", text)
    n = split(text, terms, " ")
    value = term(terms[1])
    for (i = 2; i < n; i += 2) {
        op = terms[i]
        value = op == "*" ? value * term(terms[i + 1]) : int(value / term(terms[i + 1]))
    }
    return sprintf("%.0f", value)
}
function term(name) {
    if (name == "ram_kib") return ram_kib
    if (name == "ram_pages") return int(ram_kib * 1024 / page)
    if (name == "cpus") return cpus
    if (name ~ /^[0-9]+$/) return name
    print "ringway-tune: the profile has a value that is not understood: " spec >"/dev/stderr"
    exit 2
}
# Port lists as the kernel writes them, 80,9000-9001: sorted, without gaps or doubles.
function canonical(list,   n, parts, ends, i, p, out, from, has) {
    n = split(list, parts, ",")
    for (i = 1; i <= n; i++) if (parts[i] != "") {
        if (split(parts[i], ends, "-") < 2) ends[2] = ends[1]
        for (p = ends[1] + 0; p <= ends[2] + 0; p++) has[p] = 1
    }
    for (p = 1; p <= 65536; p++) {
        if ((p in has) && !from) from = p
        if (!(p in has) && from) {
            out = out (out == "" ? "" : ",") (p - 1 > from ? from "-" (p - 1) : from)
            from = 0
        }
    }
    return out
}
BEGIN {
    n = split(spec, word, " "); split(now, have, " ")
    if (word[1] == "ports") { print canonical(now "," ports); exit }
    if (word[1] == "exactly") { print word[2]; exit }
    if (word[1] == "range") {
        print (have[1] < word[2] ? have[1] : word[2]) + 0, (have[2] > word[3] ? have[2] : word[3]) + 0; exit
    }
    least = word[2] == "least"
    if (word[1] != "at" || !least && word[2] != "most") term(spec)
    for (i = 3; i <= n && word[i] != "or"; i++) {
        want = number(word[i]); is = have[i - 2]
        # A number that is kept is kept as it stands: awk would round a file-max of 2^63 - 1.
        keep = least ? is + 0 >= want + 0 : is + 0 <= want + 0
        if (word[n - 1] == "or" && is == word[n]) keep = 1
        out = out (i > 3 ? " " : "") (keep && is != "" ? is : want)
    }
    print out
}
