#compdef pdns-distribute
#
# The program says what may stand in place of the last word. It reads files at most, and never runs the command line.

_pdns_distribute() {
	local program=${(Q)words[1]} answer word paths=nothing
	local -a whole open typed
	typed=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
	for answer in "${(@f)$(${~program} __complete "${typed[@]}" 2>/dev/null)}"; do
		if [[ $answer == :* ]]; then
			paths=${answer#:}
			continue
		fi
		word=${answer%%$'\t'*}
		answer=${word//:/\\:}:${answer#*$'\t'}
		if [[ $word == *= ]]; then
			open+=("$answer")
		else
			whole+=("$answer")
		fi
	done
	local found=1
	if (( $#whole )); then
		_describe -V pdns-distribute whole && found=0
	fi
	if (( $#open )); then
		_describe -V pdns-distribute open -S '' && found=0
	fi
	if [[ $PREFIX == --*=* ]]; then
		compset -P '*='
	fi
	case $paths in
	files) _files && found=0 ;;
	folders) _files -/ && found=0 ;;
	esac
	return found
}

if [[ $funcstack[1] == _pdns_distribute ]]; then
	_pdns_distribute "$@"
else
	compdef _pdns_distribute pdns-distribute
fi
