# shellcheck shell=dash
# update-guard transaction|trial|boot|status
case ${1:-} in
    transaction | trial | boot | status) "$@" ;;
    *)
        echo 'update-guard transaction|boot|status' >&2
        exit 2
        ;;
esac
