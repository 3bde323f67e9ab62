# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the variables are those of ringway-tune
# Packets of ringway's ports kept out of connection tracking, by a table of nftables of our own. A part of ringway-tune.

# The program, or nothing. Below --root only one that lies there, so that a test never touches the machine.
find_nft() {
    if [ -n "$root" ]; then
        [ ! -x "$root/usr/sbin/nft" ] || echo "$root/usr/sbin/nft"
    else
        command -v nft || :
    fi
}

table='inet ringway_notrack'

# Both directions of each connection, and no more: who chooses a client's port does not choose these.
notrack_rules() {
    echo '# Made by ringway-tune: packets of these ports are not tracked. Include it in /etc/nftables.conf to have it at boot.'
    echo "table $table"
    echo "delete table $table"
    echo "table $table {"
    for chain in prerouting output; do
        case $chain in
        prerouting) service=dport backend=sport ;;
        output) service=sport backend=dport ;;
        esac
        echo "    chain $chain {"
        echo "        type filter hook $chain priority raw;"
        [ -z "$service_ports" ] || echo "        tcp $service { $(spaced "$service_ports") } notrack"
        [ -z "$backend_ports" ] || echo "        tcp $backend { $(spaced "$backend_ports") } notrack"
        echo '    }'
    done
    echo '}'
}

spaced() {
    printf '%s' "$1" | sed 's/,/, /g'
}

# Why packets are tracked all the same, or nothing.
notrack_obstacle() {
    if [ ! -e "$root/proc/sys/net/netfilter/nf_conntrack_max" ]; then
        echo 'connection tracking is not loaded: nothing to bypass, and a rule would load it'
    elif [ "$container" = yes ] && [ "$own_network" = no ]; then
        echo "this container has the host's network: run ringway-tune on the host"
    elif [ -z "$nft" ]; then
        echo 'nft is not installed: apt-get install nftables'
    elif ! "$nft" list ruleset >"$work/ruleset" 2>"$work/error"; then
        echo "nft does not show its rules ($(head -n 1 "$work/error")): run as root, with CAP_NET_ADMIN"
    elif awk -v table="table $table {" '$0 == table { ours = 1 } !ours { print } /^}/ { ours = 0 }' "$work/ruleset" \
        >"$work/foreign" && grep -Eq 'ct state|conntrack' "$work/foreign" && ! grep -q untracked "$work/foreign"; then
        echo "the firewall goes by connection states and would drop what is not tracked; first let it through both ways, in
           input: tcp dport { PORTS } ct state untracked accept; in output: tcp sport { PORTS } ct state untracked accept"
    fi
}

# The same question for every command; $1 is install (apply) or ask (plan, verify). Status 1: it should be and is not.
notrack() {
    [ -n "$service_ports$backend_ports" ] || return 0
    block=$(notrack_obstacle)
    case $block in
    '') ;;
    'connection tracking is not loaded'*)
        echo "  missing  untracked ports                    $block"
        return 0
        ;;
    *)
        echo "  no       untracked ports                    $block"
        return 1
        ;;
    esac
    notrack_rules >"$work/rules"
    if our_table | cmp -s - "$state/notrack" && cmp -s "$work/rules" "$rules"; then
        echo '  keep     untracked ports'
        return 0
    fi
    if [ "$1" = ask ]; then
        echo '  set      untracked ports'
        sed 's/^/           /' "$work/rules"
        echo '           can hurt: address translation and stateful rules no longer see these packets'
        return 1
    fi
    replace "$rules" <"$work/rules"
    "$nft" -f "$rules" 2>"$work/error" || {
        echo "  no       untracked ports                    nft refused $rules: $(head -n 1 "$work/error")"
        return 1
    }
    our_table | replace "$state/notrack"
    echo "  set      untracked ports; for the next boot, add to /etc/nftables.conf: include \"$rules\""
}

# Status 1 when a table of ours was loaded and is not as it was then.
notrack_holds() {
    [ -f "$state/notrack" ] || return 0
    { [ -n "$nft" ] && our_table | cmp -s - "$state/notrack"; } || {
        echo "  short    untracked ports                    not as they were applied: apply again, with the same ports"
        return 1
    }
}

our_table() {
    "$nft" -s list table "${table% *}" "${table#* }" 2>/dev/null
}

revert_notrack() {
    [ -f "$state/notrack" ] || return 0
    if [ -z "$nft" ]; then
        echo '  no       untracked ports                    nft is gone: install nftables, then revert again'
        return 1
    fi
    our_table >"$work/table" || : >"$work/table"
    if [ ! -s "$work/table" ]; then
        echo '  gone     untracked ports                    somebody has removed them already'
    elif cmp -s "$work/table" "$state/notrack"; then
        "$nft" delete table "${table% *}" "${table#* }"
        echo '  back     untracked ports'
    else
        echo "  left     untracked ports                    changed since; to remove them: nft delete table $table"
        return 0
    fi
    rm -f "$rules" "$state/notrack"
}
