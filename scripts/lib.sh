# Set-up shared by scripts/quickstart and scripts/test; sourced, never run.
# POSIX sh. The caller has set `checkout`; nothing here asks a question, and nothing is done twice.
# shellcheck shell=sh

export DEBIAN_FRONTEND=noninteractive
# `su` keeps a user's PATH, and mke2fs, depmod and mkntfs are not on it.
export PATH="$PATH:/usr/sbin:/sbin"

# shellcheck disable=SC2154 # set by the script that sources this
packages_file=$checkout/lab/doctor/packages.txt
venv=$checkout/.venv
started=$(date +%s)

# A line of progress with the seconds since the start.
say() {
    printf '[%4d s] %s\n' "$(($(date +%s) - started))" "$*"
}

# Lab trouble: why, and exit code 3.
stop() {
    printf '%s\n' "$@" >&2
    exit 3
}

# quietly WHAT COMMAND...: one line of progress; the command's words are shown only when it fails.
quietly() {
    say "$1"
    what=$1
    shift
    quiet_log=$(mktemp)
    failed=0
    "$@" >"$quiet_log" 2>&1 </dev/null || failed=$?
    if [ "$failed" -eq 0 ]; then
        rm -f "$quiet_log"
        return 0
    fi
    tail -n 40 "$quiet_log" >&2
    rm -f "$quiet_log"
    stop "$what: failed with status $failed: $*"
}

# set_up FOR... -- [GROUP...]: packages, then the virtual environment; a second set-up of the same checkout waits.
set_up() {
    kinds=
    while [ "$1" != -- ]; do
        kinds="$kinds $1"
        shift
    done
    shift
    exec 9<"$checkout"
    flock 9
    # shellcheck disable=SC2086 # words on purpose
    install_packages $kinds
    install_python "$@"
    exec 9<&-
}

# Images are built as root: a user becomes root through sudo, or is told.
become_root() {
    [ "$(id -u)" -eq 0 ] && return 0
    command -v sudo >/dev/null || stop \
        "The lab builds disk images and mounts volumes, which needs root, and there is no sudo here." \
        "Run $0 as root."
    sudo -n true 2>/dev/null || stop \
        "The lab builds disk images and mounts volumes, which needs root, and sudo wants a password." \
        "Run: sudo -E HOME=\"\$HOME\" $0"
    # HOME stays the user's, so that the cache is the one that the user's own `lab` commands see.
    exec sudo -n -E env HOME="$HOME" PATH="$PATH" "$0" "$@"
}

# What root made in the user's checkout belongs to the user again.
give_back() {
    [ -n "${SUDO_UID:-}" ] || return 0
    for folder in .venv .tox reports; do
        [ ! -d "$checkout/$folder" ] || chown -R -h "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$checkout/$folder" || :
    done
}

# debian_packages RELEASE FOR...: the packages that this Debian release needs.
debian_packages() {
    release=$1
    shift
    awk -v release="$release" -v wanted=" $* " '
        /^[[:space:]]*(#|$)/ { next }
        index(wanted, " " $2 " ") && ($3 == "all" || $3 == release || ($3 ~ /\+$/ && release + 0 >= $3 + 0)) { print $1 }
    ' "$packages_file"
}

# The release number of this Debian, or the end: other distributions have other names for what is needed.
debian_release() {
    os_release=${LAB_OS_RELEASE:-/etc/os-release}
    distribution=$(sed -n 's/^ID=//p' "$os_release" 2>/dev/null | tr -d '"')
    release=$(sed -n 's/^VERSION_ID=//p' "$os_release" 2>/dev/null | tr -d '"')
    case "$distribution $release" in
    "debian 12" | "debian 13") printf '%s\n' "$release" ;;
    *) stop "This is ${distribution:-an unknown system} ${release:-of no release}, and the set-up knows Debian 12 and 13." \
        "What it would install there, for you to find here by hand:" \
        "$(debian_packages 13 "$@" | tr '\n' ' ')" ;;
    esac
}

# Install what is missing of the packages for FOR...; ask the mirror only then.
install_packages() {
    release=$(debian_release "$@") || exit 3
    missing=
    for package in $(debian_packages "$release" "$@"); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    # Another apt, such as unattended-upgrades on a machine that has just booted, is waited for.
    quietly "ask the mirror" apt-get -q -o DPkg::Lock::Timeout=600 update
    # shellcheck disable=SC2086 # one word a package
    quietly "install$missing" apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
        --no-install-recommends install $missing
}

# The Python to use: Debian's own, whose headers the packages bring; else the first one that is new enough.
find_python() {
    for python in "${LAB_PYTHON:-}" /usr/bin/python3 $(command -v python3 2>/dev/null); do
        if "${python:-false}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$python"
            return 0
        fi
    done
    stop "No Python 3.11 or later: neither /usr/bin/python3 nor the python3 on PATH. Name one in LAB_PYTHON."
}

# install_python [GROUP...]: the lab and its dependencies in .venv; nothing when nothing changed.
install_python() {
    python=$(find_python) || exit 3
    # An editable install points at the checkout, and a virtual environment at its Python: both are part of the stamp.
    stamp=$({
        printf '%s\n' "$checkout" "$python" "$*"
        "$python" --version
        cat "$checkout/pyproject.toml"
    } | sha256sum | cut -c 1-32)
    stamped=$venv/lab-$(printf '%s' "${*:-run}" | tr ' ' -)
    if [ "$(cat "$stamped" 2>/dev/null)" = "$stamp" ] && "$venv/bin/python" -I -c 'import lab, libvirt' 2>/dev/null; then
        return 0
    fi
    "$venv/bin/python" -c '' 2>/dev/null || rm -rf "$venv"
    [ -d "$venv" ] || quietly "make a virtual environment with $python" "$python" -m venv "$venv"
    # Debian 12's pip is too old for dependency groups (25.1).
    quietly "upgrade pip" "$venv/bin/python" -m pip install -q --disable-pip-version-check 'pip>=25.1'
    groups=
    for group in "$@"; do groups="$groups --group $checkout/pyproject.toml:$group"; done
    # shellcheck disable=SC2086 # words on purpose
    quietly "install the lab's Python packages" "$venv/bin/python" -m pip install -q --disable-pip-version-check \
        -e "${checkout}[readers]" $groups
    printf '%s\n' "$stamp" >"$stamped"
}
