# shellcheck shell=dash
# journal COMMAND ARGUMENT...: what the controller calls, and whoever sits at the console.
REVERTING='' KEEPING='' LATER=/dev/null SEEN=/dev/null
command=${1:-}
[ $# -eq 0 ] || shift
case $command in
    end) # of the last step, too, all is kept first
        at_work 30 || :
        end "$@"
        ;;
    begin | confirm | step | revert | examine | expire | runs | status | back | whole) "$command" "$@" ;;
    *)
        cat >&2 <<'EOF'
journal runs                     list the runs on this machine
journal examine RUN '' ''        say what taking a run back would restore, and what stands against it
journal back RUN [LAYER]         take a run back, without a controller; RUN may be `last`
EOF
        exit 2
        ;;
esac
