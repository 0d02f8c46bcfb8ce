# bash completion of pdns-distribute
#
# The program says what may stand in place of the last word. It reads files at most, and never runs the command line.

_pdns_distribute() {
	local program=${COMP_WORDS[0]/#\~\//$HOME/} words=() current i

	# bash takes words apart at "=" and ":", and puts in place only what stands behind the last of them
	for ((i = 1; i <= COMP_CWORD; i++)); do
		if [[ ${#words[@]} -gt 0 && (${COMP_WORDS[i]} == [=:]* || ${COMP_WORDS[i - 1]} == [=:]) ]]; then
			words[${#words[@]} - 1]+=${COMP_WORDS[i]}
		else
			words+=("${COMP_WORDS[i]}")
		fi
	done
	current=${words[${#words[@]} - 1]}
	local typed=$current before=
	if [[ $current == *[=:]* && $COMP_WORDBREAKS == *[=:]* ]]; then
		typed=${current##*[=:]}
		before=${current%"$typed"}
	fi

	local answer
	COMPREPLY=()
	while IFS= read -r answer; do
		case $answer in
		:files) _pdns_distribute_paths -f "$typed" ;;
		:folders) _pdns_distribute_paths -d "$typed" ;;
		:*) ;;
		*)
			answer=${answer%%$'\t'*}
			[[ $answer != *= ]] || compopt -o nospace 2>/dev/null
			COMPREPLY+=("${answer#"$before"}")
			;;
		esac
	done < <("$program" __complete "${words[@]}" 2>/dev/null)
}

_pdns_distribute_paths() {
	local path
	compopt -o filenames 2>/dev/null
	while IFS= read -r path; do
		COMPREPLY+=("$path")
	done < <(compgen "$1" -- "$2")
}

complete -F _pdns_distribute pdns-distribute
