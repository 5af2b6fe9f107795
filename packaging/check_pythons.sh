#!/usr/bin/env bash
# Proves that opentec sets up and works on every Python it promises, on a machine without a compiler and therefore
# without durable-rules. For each Python found: a copy of the checkout, make setup, the import, tec --help, unit tests.
# Part of make nightly; run it by hand when packaging changes.
#
#   packaging/check_pythons.sh                    the python3.11, python3.12 and python3.13 that are on PATH
#   PYTHONS="/opt/a/python3 python3.13" packaging/check_pythons.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# All programs of PATH but the compilers: the nearest thing to a machine that never had one.
mkdir "$work/bin"
IFS=: read -ra folders <<<"$PATH"
for folder in "${folders[@]}"; do
    for program in "$folder"/*; do
        case ${program##*/} in
        cc | gcc* | c99* | c89* | clang* | tcc | *-linux-gnu-gcc* | *-linux-gnu-cpp* | g++* | c++*) ;;
        *) [ -x "$program" ] && ln -s "$program" "$work/bin/" 2>/dev/null || true ;;
        esac
    done
done

checked=0
for name in ${PYTHONS:-python3.11 python3.12 python3.13}; do
    if ! python=$("$name" -c 'import sys; print(sys.executable)' 2>/dev/null); then
        echo "== $name: not on this machine, skipped"
        continue
    fi
    echo "== $name: $("$python" --version), no compiler"
    copy="$work/${name##*/}"
    mkdir "$copy"
    git ls-files --cached --others --exclude-standard -z | while IFS= read -r -d '' file; do
        [ -e "$file" ] && cp --parents "$file" "$copy/"
    done
    (
        cd "$copy"
        export PATH="$work/bin"
        unset CC VIRTUAL_ENV
        make --no-print-directory setup PYTHON="$python" | tee setup.log
        grep -q 'durable-rules left out: no C compiler' setup.log
        .venv/bin/python -c 'import opentec; print("opentec", opentec.__version__)'
        .venv/bin/tec --help >/dev/null
        .venv/bin/python -m pytest -n 2 -m 'not acceptance and not faults and not nightly'
    )
    rm -rf "$copy"
    checked=$((checked + 1))
done

if [ "$checked" -eq 0 ]; then
    echo "== no Python was checked: install one, or name them in PYTHONS" >&2
    exit 1
fi
echo "== $checked Python version(s) work without a compiler"
