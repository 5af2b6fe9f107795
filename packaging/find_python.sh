#!/bin/sh
# Prints the Python that set-up uses: PYTHON when it is given, else the first of the usual names that is 3.11 or newer
# and can make virtual environments. Exits 1 with what to install when there is none.
set -u

usable='import sys; sys.exit(sys.version_info < (3, 11))'
has_venv='import ensurepip, venv'
without_venv=

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3}; do
    path=$(command -v "$candidate") || continue
    "$path" -c "$usable" >/dev/null 2>&1 || continue
    if "$path" -c "$has_venv" >/dev/null 2>&1; then
        printf '%s\n' "$path"
        exit 0
    fi
    without_venv=${without_venv:-$path}
done

if [ -n "$without_venv" ]; then
    package=$("$without_venv" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    echo "setup: $without_venv cannot make virtual environments; on Debian: apt-get install $package" >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "setup: PYTHON=$PYTHON is not a Python 3.11 or newer; leave PYTHON out, or name one, e.g. PYTHON=python3.12" >&2
else
    echo "setup: no Python 3.11 or newer found; on Debian 12 or newer: apt-get install python3 python3-venv" >&2
fi
exit 1
