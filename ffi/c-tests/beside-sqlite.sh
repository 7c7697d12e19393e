#!/usr/bin/env bash
# The library and go-sqlite3, which brings an SQLite in C of its own, in one Go program: it opens a database, and
# starts and stops a listener, each way round.
#
#   ffi/c-tests/beside-sqlite.sh [--mint]
#
# --mint: the library has an SQLite of its own (`make lib MINT=1`), with which the listener keeps a ledger.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
sqlite=github.com/mattn/go-sqlite3@v1.14.32
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED $*" >&2; exit 1; }
program=${CARGO_TARGET_DIR:-target}/debug/gopool-sv2
[ -x "$program" ] || fail "$program is missing, which makes keys: run cargo build --bin gopool-sv2"
"$program" keygen --out "$work/authority.key" > "$work/keygen.log"
cp go-bindings/go.sum "$work/go.sum"
cat > "$work/go.mod" <<MOD
module beside

go 1.26.0

require github.com/gopool-sv2/gopool-sv2/go-bindings v0.0.0

replace github.com/gopool-sv2/gopool-sv2/go-bindings => $root/go-bindings
MOD
cat > "$work/main.go" <<'GO'
// Program beside has two C libraries in it.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/ffihost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

type nobody struct{}

func (nobody) Limits() sv2.Limits {
	return sv2.Limits{Easiest: sv2.TargetFromDifficulty(1), Software: "beside"}
}

func (nobody) OpenChannel(context.Context, sv2.OpenRequest, sv2.Sink) (sv2.Channel, sv2.Opened, error) {
	return nil, sv2.Opened{}, &sv2.Refusal{Reason: sv2.RefuseUnauthorized}
}

func (nobody) Drain(context.Context) error { return nil }

func database() error {
	db, err := sql.Open("sqlite3", "file:shares.db")
	if err != nil {
		return err
	}
	defer db.Close()
	var n int
	if _, err := db.Exec("create table if not exists shares (n integer); insert into shares values (1)"); err != nil {
		return err
	}
	if err := db.QueryRow("select count(*) from shares").Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%d rows", n)
	}
	return nil
}

func listener() error {
	server, err := ffihost.New(nobody{}, ffihost.Options{ConfigFile: "listener.toml"})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background()) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for len(server.Sessions()) == 0 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	if err := database(); err != nil { // while it serves
		return err
	}
	if err := server.Shutdown(ctx); err != nil {
		return err
	}
	return <-served
}

func main() {
	for range 2 {
		for _, part := range []func() error{database, listener} {
			if err := part(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}
GO
printf '[listen]\naddress = "127.0.0.1:0"\n[authority]\nkey_file = "authority.key"\n' > "$work/listener.toml"
if [ "${1:-}" = --mint ]; then
  printf '[mint]\nledger_file = "ledger.db"\nurl = "http://127.0.0.1:1"\n[mint.processor]\nlisten = "127.0.0.1:0"\n' >> "$work/listener.toml"
  echo 'allow_plain = true' >> "$work/listener.toml"
fi
cd "$work"
if ! go get "$sqlite" > get.log 2>&1; then
  echo "SKIPPED ffi-beside-sqlite: $sqlite can't be fetched; a network, or a GOPROXY that has it"
  exit 0
fi
go mod tidy > tidy.log 2>&1 || { cat tidy.log >&2; fail "beside-sqlite: go mod tidy"; }
go build -tags sv2_static -o beside . > build.log 2>&1 || { cat build.log >&2; fail "beside-sqlite can't be linked"; }
./beside 2> run.log || { tail -n 20 run.log >&2; fail "beside-sqlite does not run"; }
[ "${1:-}" != --mint ] || [ -s ledger.db ] || fail "beside-sqlite: no ledger was kept"
echo "ok beside go-sqlite3 in one program${1:+, ${1#--}}"
