// What a pool asks the mint bridge of a real sidecar: whose credit it is, and shares of other doors.

package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// payoutKey is the generator of secp256k1 (SEC 2).
const payoutKey = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"

// bridgedLine is a pool in this process and a real sidecar whose mint is away.
type bridgedLine struct {
	*rig
	dir     string
	program string
	sidecar *daemon
	bridge  *grpchost.Server
}

func newBridgedLine(t *testing.T) *bridgedLine {
	t.Helper()
	// A Unix socket's path is short: keep it out of the test's deep directory.
	dir, err := os.MkdirTemp("", "mp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l := &bridgedLine{rig: newRig(t, dir, "-network-bits", "1c00ffff"), dir: dir, program: sidecarProgram(t)}
	l.bridge = l.server.(*grpchost.Server)
	key := filepath.Join(dir, "authority.key")
	if output, err := exec.Command(l.program, "keygen", "--out", key).CombinedOutput(); err != nil {
		t.Fatalf("keygen: %v: %s", err, output)
	}
	address := func() string {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = free.Close() }()
		return free.Addr().String()
	}
	text := fmt.Sprintf("[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = %q\n"+
		"[pool]\naddress = %q\n[log]\nformat = \"human\"\n[mint]\nledger_file = %q\n"+
		"url = \"http://%s\"\nunit_difficulty = \"0.000000001\"\n[mint.processor]\nlisten = %q\n"+
		"allow_plain = true\n", key, "unix:"+filepath.Join(dir, "sock"), filepath.Join(dir, "ledger.db"),
		address(), address())
	if err := os.WriteFile(filepath.Join(dir, "sidecar.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l.start()
	return l
}

// start starts the sidecar, again if need be.
func (l *bridgedLine) start() {
	l.t.Helper()
	if l.sidecar != nil {
		l.sidecar.end(os.Kill)
	}
	l.sidecar = startDaemon(l.t, l.program, "serve", "--config", filepath.Join(l.dir, "sidecar.toml"))
	l.sidecar.await(l.t, "link to the pool is up")
}

// mine has a miner submit so many shares, all of which must be accepted.
func (l *bridgedLine) mine(user string, shares int) {
	l.t.Helper()
	url := l.sidecar.await(l.t, "miners type: ")
	miner := exec.CommandContext(l.t.Context(), l.program, "miner", url, "--user", user,
		"--threads", "1", "--hash-rate", "1000000", "--shares", fmt.Sprint(shares), "--seconds", "50")
	if output, err := miner.CombinedOutput(); err != nil {
		l.t.Fatalf("miner: %v\n%s", err, output)
	}
}

// accepted are the shares in the pool's book.
func (l *bridgedLine) accepted() (accepted []bookLine) {
	for _, line := range l.book("verdict") {
		if line.Accepted {
			accepted = append(accepted, line)
		}
	}
	return accepted
}

func (l *bridgedLine) account(identity string, key []byte) grpchost.Account {
	l.t.Helper()
	account, err := l.bridge.GetAccount(l.t.Context(), []byte(identity), key)
	if err != nil {
		l.t.Fatal(err)
	}
	return account
}

func (l *bridgedLine) key() []byte {
	l.t.Helper()
	key, err := hex.DecodeString(payoutKey)
	if err != nil {
		l.t.Fatal(err)
	}
	return key
}

func TestMQ9WorkWithoutAKeyWaitsUntilThePoolGivesItOne(t *testing.T) {
	l := newBridgedLine(t)
	user := payoutAddress(t) + ".rig"
	l.mine(user, 100)
	if account := l.account(user, nil); account.Shares != 100 || account.Pending != 0 {
		t.Fatalf("unassigned: %+v", account)
	}
	// Whoever comes with a key under the same name gets what it mines, and nothing of before.
	stranger := "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
	l.mine(user+"~ehash="+stranger, 10)
	l.start()
	released, err := l.bridge.SetPayout(t.Context(), []byte(user), l.key(), true)
	if err != nil || released != 100 {
		t.Fatalf("released %d, %v", released, err)
	}
	// What comes on channels without a key goes there from now on.
	l.mine(user, 20)
	if account := l.account(user, l.key()); account.Shares != 120 {
		t.Errorf("with a key: %+v", account)
	}
	theirs, err := hex.DecodeString(stranger)
	if err != nil {
		t.Fatal(err)
	}
	if account := l.account(user, theirs); account.Shares != 10 {
		t.Errorf("the stranger's: %+v", account)
	}
}

func TestMQ2AHashIsCreditedOnceWhateverDoorItComesBy(t *testing.T) {
	l := newBridgedLine(t)
	user := payoutAddress(t) + ".rig"
	l.mine(user+"~ehash="+payoutKey, 5)
	shares := l.accepted()
	if len(shares) != 5 {
		t.Fatalf("%d shares", len(shares))
	}
	record := func(hashes ...sv2.Hash) []bool {
		t.Helper()
		var given []grpchost.RecordedShare
		for _, hash := range hashes {
			given = append(given, grpchost.RecordedShare{Hash: hash, UserIdentity: []byte(user),
				PayoutKey: l.key(), Credit: shares[0].Credit, AcceptedAt: time.Now()})
		}
		recorded, err := l.bridge.RecordShares(t.Context(), given)
		if err != nil {
			t.Fatal(err)
		}
		return recorded
	}
	var known sv2.Hash
	raw, err := hex.DecodeString(shares[0].Hash)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range raw { // a book has hashes as explorers print them
		known[len(known)-1-i] = b
	}
	fresh := known
	fresh[0] ^= 1
	for range 2 {
		if got := record(known); got[0] {
			t.Error("a share of a Stratum V2 channel was credited again")
		}
		l.start()
	}
	if got := record(fresh, fresh); !got[0] || got[1] {
		t.Errorf("a new share twice in one call: %v", got)
	}
	l.start()
	if got := record(fresh); got[0] {
		t.Error("it was credited again after a restart")
	}
	if account := l.account(user, l.key()); account.Shares != 6 {
		t.Errorf("%+v", account)
	}
}
