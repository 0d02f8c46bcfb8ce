# fish completion of pdns-distribute
#
# The program says what may stand in place of the last word. It reads files at most, and never runs the command line.

function __pdns_distribute_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for answer in ($program __complete $words "$current" 2>/dev/null)
        switch $answer
            case ':files'
                __pdns_distribute_paths __fish_complete_path "$current"
            case ':folders'
                __pdns_distribute_paths __fish_complete_directories "$current"
            case ':*'
            case '*'
                printf '%s\n' $answer
        end
    end
end

# a path may stand behind a flag and "="
function __pdns_distribute_paths --argument-names lists current
    set -l parts (string match --regex -- '^(--[^=]*=)(.*)$' "$current")
    if set -q parts[3]
        printf '%s\n' $parts[2]($lists "$parts[3]")
    else
        $lists "$current"
    end
end

complete --command pdns-distribute --no-files --keep-order --arguments '(__pdns_distribute_complete)'
