#!/bin/sh
# venv.sh PYTHON FOLDER: make sure that FOLDER is a working virtual environment of that Python.
#
# Recreates an environment that belongs to another Python, was moved here, or lost its Python.
# FOLDER/.python names the Python, and is written only on creation: make compares its time. Each
# failure is reported in one line.
set -eu
python=$1
folder=$2

fail() {
  echo "make: $*" >&2
  exit 1
}

python_prints() { "$1" -c "$2" 2>/dev/null; }

command -v "$python" >/dev/null 2>&1 ||
  fail "PYTHON=$python: no such program; name Python 3.11 or newer, as in: make PYTHON=python3.11"
version=$(python_prints "$python" 'import sys; print("%d.%d.%d" % sys.version_info[:3])') ||
  fail "PYTHON=$python: does not start as a Python; name another, as in: make PYTHON=python3.11"
[ -n "$version" ] || fail "PYTHON=$python: is no Python; name one, as in: make PYTHON=python3.11"
python_prints "$python" 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$python is Python $version, and greyd needs 3.11 or newer; name it, as in: make PYTHON=python3.11"

# In an active virtual environment python3 is a link: identify the Python behind it.
identity=$(python_prints "$python" 'import os, sys; print(os.path.realpath(sys._base_executable), sys.version.split()[0])')
scripts="$(pwd -P)/$folder/bin/python"
if [ "$(cat "$folder/.python" 2>/dev/null)" = "$identity" ] &&
  python_prints "$folder/bin/python" 'import pip' &&
  head -n 3 "$folder/bin/pip" 2>/dev/null | grep -qF "$scripts"; then
  exit 0
fi

for module in ensurepip sqlite3 ssl; do
  python_prints "$python" "import $module" || case $module in
    ensurepip) fail "$python can't make a virtual environment; on Debian and Ubuntu: apt install python3-venv" ;;
    *) fail "$python has no module $module; install the package that has it, or name another Python with PYTHON=" ;;
  esac
done
base=${identity% *}
# The Python inside an environment cannot recreate it.
case $("$python" -c 'import os, sys; print(os.path.realpath(sys.prefix))') in
  "$(pwd -P)/$folder") python=$base ;;
esac
rm -rf "$folder"
"$python" -m venv "$folder"
echo "$identity" >"$folder/.python"
