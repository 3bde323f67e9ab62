# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the variables are those of the script that reads this
# What a script changes, noted in a file before the first change, and taken back from there. The script says what a key is:
# `value_of KEY` prints what it has, `put KEY VALUE` changes it. Its plan is $work/plan, `action|key|now|wanted|advice`.

# The snapshot's lines: `profile NAME`, and `key|what was before|what we set`.
noted() {
    awk -F'|' -v key="$1" -v field="$2" '$1 == key { print $field; exit }' "$snapshot" 2>/dev/null || :
}

noted_profile() {
    sed -n 's/^profile //p' "$snapshot" 2>/dev/null || :
}

snapshot_head() {
    printf '# What %s changed: key|before|after. Its revert reads this.\nprofile %s\n' "${0##*/}" "$1"
}

# The snapshot that this apply needs: what is changed now, and what earlier ones changed.
new_snapshot() {
    snapshot_head "$profile"
    awk -F'|' '
        FILENAME == ARGV[1] { if ($1 == "set") { order[++n] = $2; now[$2] = $3; want[$2] = $4 } next }
        /^#/ || /^profile / || NF != 3 { next }
        # Changed again: what was there first counts, unless somebody has changed it in between.
        $1 in want { before = $3 == now[$1] ? $2 : now[$1]; print $1 "|" before "|" want[$1]; delete want[$1]; next }
        { print }
        END { for (i = 1; i <= n; i++) if (order[i] in want) print order[i] "|" now[order[i]] "|" want[order[i]] }
    ' "$work/plan" "$([ -f "$snapshot" ] && echo "$snapshot" || echo /dev/null)"
}

count() {
    grep -c "^$1|" "$work/plan" || :
}

count_elsewhere() {
    grep -c -e '^elsewhere|' -e '^unseen|' "$work/plan" || :
}

# Writes what the plan says. $work/snapshot gets what the kernel made of it, and loses what it refused.
set_all() {
    grep '^set|' "$work/plan" >"$work/to-set"
    while IFS='|' read -r _ key now want _; do
        put "$key" "$want" || :
        is=$(value_of "$key") || is=''
        if [ "$is" = "$want" ]; then
            printf '  set      %-34s %s -> %s\n' "$key" "${now:-none}" "$want"
        else
            printf '  failed   %-34s is %s, and the kernel does not take %s; set it by hand to see its error\n' \
                "$key" "${is:-unknown}" "$want"
            missed=$((missed + 1))
            awk -F'|' -v key="$key" '$1 != key' "$work/snapshot" >"$work/kept"
            mv "$work/kept" "$work/snapshot"
        fi
    done <"$work/to-set"
}

# Puts back everything that is noted. $work/stuck gets what could not be.
take_back_all() {
    snapshot_head "$(noted_profile)" >"$work/stuck"
    grep -v -e '^#' -e '^profile ' "$snapshot" >"$work/noted" || :
    # The last first: the range of ports is narrowed before ports in it are no longer reserved.
    awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$work/noted" >"$work/reversed"
    while IFS='|' read -r key before after; do
        take_back "$key" "$before" "$after"
    done <"$work/reversed"
}

take_back() {
    now=$(value_of "$1") || now=''
    if [ "$now" = "$2" ]; then
        printf '  back     %-34s %s\n' "$1" "${2:-none}"
    elif [ "$now" != "$3" ]; then
        printf '  left     %-34s is %s, which is not what was set here (%s)\n' "$1" "${now:-unknown}" "$3"
    else
        put "$1" "$2" || :
        now=$(value_of "$1") || now=''
        if [ "$now" = "$2" ]; then
            printf '  back     %-34s %s -> %s\n' "$1" "$3" "${2:-none}"
        else
            printf '  failed   %-34s is still %s, should be %s again: run as root where it was applied, then revert again\n' \
                "$1" "${now:-unknown}" "${2:-none}"
            printf '%s|%s|%s\n' "$1" "$2" "$3" >>"$work/stuck"
            missed=1
        fi
    fi
}

# After that: the snapshot goes, but for what is stuck.
drop_snapshot() {
    if [ "$missed" -ne 0 ] && grep -q '^[^#].*|' "$work/stuck"; then
        replace "$snapshot" <"$work/stuck"
    else
        rm -f "$snapshot"
    fi
}
