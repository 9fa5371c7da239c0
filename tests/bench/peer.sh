#!/usr/bin/env bash
# What an on-call person would type instead of check-deps: the same questions by kubectl, curl, redis-cli and ldapsearch.
#   peer.sh 1 QUESTIONS      one after the other        peer.sh 16 QUESTIONS     sixteen at once
# The environment names where the servers are (prompt_keda/benchmark.py). Credentials stand in files, not in arguments.
set -euo pipefail
xargs -d '\n' -P "$1" -I{} bash -c '{ {} ; } >/dev/null || echo "did not answer: {}" >&2' < "$2"
