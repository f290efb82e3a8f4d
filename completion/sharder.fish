# sharder in fish: sharder completion fish > ~/.config/fish/completions/sharder.fish
function __sharder_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l lines ($program __complete fish -- $words "$word" 2>/dev/null)
    if test "$lines[1]" = files
        set -l before (string match -r '^--[^=]*=' -- $word)
        for file in (__fish_complete_path (string replace -r '^--[^=]*=' '' -- "$word"))
            echo "$before$file"
        end
    else if test (count $lines) -gt 1
        printf '%s\n' $lines[2..-1]
    end
end
complete -c sharder -f -a '(__sharder_complete)'
