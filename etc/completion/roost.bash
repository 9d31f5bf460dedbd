# bash completion for roost(8). The program itself says what can stand where: "roost --complete WORD ..." prints the
# words that fit in place of the last one.

_roost() {
    local line=${COMP_LINE:0:COMP_POINT} words word stem
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}

    case ${words[-2]} in
    -c | --config)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    esac

    mapfile -t COMPREPLY < <("${words[0]}" --complete "${words[@]:1}" 2>/dev/null)

    # Readline replaces only what follows the last of its word breaks, so what stands before it must go.
    stem=""
    local break
    for break in = : @; do
        [[ $COMP_WORDBREAKS == *"$break"* && $word == *"$break"* ]] || continue
        local head=${word%"$break"*}$break
        ((${#head} > ${#stem})) && stem=$head
    done
    COMPREPLY=("${COMPREPLY[@]#"$stem"}")

    # After "key=" the value follows at once.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}
complete -F _roost roost
