# sharder in bash; in ~/.bashrc: source <(sharder completion bash)
_sharder() {
  local program=$1 answer what word
  COMPREPLY=()
  [[ $program == '~/'* ]] && program=$HOME/${program:2}
  answer=$("$program" __complete bash -- "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
  {
    read -r what
    while IFS= read -r word; do COMPREPLY+=("$word"); done
  } <<<"$answer"
  # Where nothing is found, bash looks for files.
  [[ $what == files ]] || compopt +o default 2>/dev/null
  return 0
}
complete -o default -F _sharder sharder
