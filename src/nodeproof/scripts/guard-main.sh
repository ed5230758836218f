# shellcheck shell=dash
# update-guard transaction|trial|boot|status|kernels|pending|reboot
case ${1:-} in
    transaction | trial | boot | status | kernels | pending) "$@" ;;
    reboot)
        shift
        reboot_when "$@"
        ;;
    *)
        echo 'update-guard transaction|boot|status|kernels|pending|reboot' >&2
        exit 2
        ;;
esac
