#compdef sharder
# sharder in zsh; in ~/.zshrc, after compinit: source <(sharder completion zsh)
_sharder() {
  local program=${(Q)words[1]} line
  local -a lines described
  program=${program/#\~\//$HOME/}
  lines=("${(@f)$("$program" __complete zsh -- "${(@Q)words[1,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
  [[ $PREFIX == --*=* ]] && compset -P 1 '*='
  if [[ $lines[1] == files ]]; then
    _files
    return
  fi
  for line in "${(@)lines[2,-1]}"; do
    described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  _describe sharder described
}
# As a file in $fpath it is the function itself.
if [[ $funcstack[1] == _sharder ]]; then
  _sharder "$@"
else
  compdef _sharder sharder
fi
