// What the command line promises: the defaults, and errors that say the remedy.

package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/chain"
)

func TestDefaultsSuitCPUMiners(t *testing.T) {
	got, err := parseFlags(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := settings{
		socket: "./minipool.sock", socketMode: 0o660, networkBits: compactBits(chain.DefaultNetworkBits),
		shareSeconds: 3, minDifficulty: 1.0 / 16384, poolFee: 2, extranonceSize: 8,
		templateEvery: 30 * time.Second, logFormat: "text", logLevel: slog.LevelInfo,
		carrierSettings: carrierSettings{carrier: "grpc"},
		nodeSettings:    nodeSettings{nodeAway: 2 * time.Minute},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// The slowest miner that should find a share each few seconds: 100 kH/s.
	if seconds := got.minDifficulty * (1 << 32) / 100e3; seconds > got.shareSeconds {
		t.Errorf("a share takes 100 kH/s %v s at the least difficulty", seconds)
	}
}

func TestFlagsReachTheSettings(t *testing.T) {
	got, err := parseFlags([]string{"-socket", "s", "-socket-mode", "0600", "-datadir", "d",
		"-network-bits", "0x207FFFFF", "-journal", "j", "-share-seconds", "0.5", "-min-difficulty",
		"1e-6", "-max-difficulty", "2", "-pool-fee", "0", "-extranonce-size", "28",
		"-template-seconds", "1.5", "-log-format", "json", "-log-level", "debug", "-test-tip-every",
		"10ms", "-test-address"}, io.Discard)
	want := settings{
		socket: "s", socketMode: 0o600, dataDir: "d", networkBits: 0x207fffff, journal: "j",
		shareSeconds: 0.5, minDifficulty: 1e-6, maxDifficulty: 2, extranonceSize: 28,
		templateEvery: 1500 * time.Millisecond, logFormat: "json", logLevel: slog.LevelDebug,
		testTipEvery: 10 * time.Millisecond, testAddress: true,
		carrierSettings: carrierSettings{carrier: "grpc"},
		nodeSettings:    nodeSettings{nodeAway: 2 * time.Minute},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestRejectsCommandLinesWithTheRemedy(t *testing.T) {
	for args, want := range map[string]string{
		"-no-such-flag":              "-no-such-flag",
		"serve":                      `unexpected argument "serve"`,
		"-socket=":                   "give a path",
		"-carrier tcp":               "grpc or ffi",
		"-carrier ffi":               "needs -listener-config",
		"-carrier ffi -socket s":     "-socket is for sidecars",
		"-listener-config x.toml":    "-carrier=ffi",
		"-socket-mode 0666":          "0660",
		"-socket-mode 0060":          "0600",
		"-socket-mode rw":            "0660",
		"-socket-mode 07660":         "0660",
		"-network-bits zz":           "1d100000",
		"-network-bits 0":            "0x1d100000",
		"-network-bits 1d800000":     "0x1d100000",
		"-share-seconds 0":           "0.01 to 3600",
		"-share-seconds NaN":         "0.01 to 3600",
		"-min-difficulty 0":          "2^-32",
		"-min-difficulty NaN":        "2^-32",
		"-min-difficulty +Inf":       "2^-32",
		"-max-difficulty 1e-9":       "at least -min-difficulty",
		"-max-difficulty -1":         "0 for none",
		"-max-difficulty NaN":        "0 for none",
		"-max-difficulty Inf":        "0 for none",
		"-pool-fee 101":              "0 to 100 percent",
		"-pool-fee NaN":              "0 to 100 percent",
		"-extranonce-size 29":        "1 to 28",
		"-extranonce-size 0":         "1 to 28",
		"-template-seconds 0":        "0.1 to 86400",
		"-template-seconds NaN":      "0.1 to 86400",
		"-log-format xml":            "text or json",
		"-log-level loud":            "loud",
		"-test-tip-every -1s":        "0 or more",
		"-test-tip-every 5":          "-test-tip-every",
		"-node-rpc http://h:1":       "-node-cookie or -node-auth-file",
		"-node-cookie c":             "without -node-rpc",
		"-node-away 1s":              "without -node-rpc",
		"-node-chain moon":           "regtest",
		"-pool-address a":            "without -node-rpc",
		"-pool-fee -1 -log-format x": "-pool-fee -1: give 0 to 100 percent\n-log-format",
	} {
		_, err := parseFlags(strings.Fields(args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant a word of %q", args, err, want)
		}
	}
}

func TestNodeFlagsReachTheSettings(t *testing.T) {
	got, err := parseFlags([]string{"-node-rpc", "https://n:8334", "-node-auth-file", "a", "-node-ca",
		"c", "-node-chain", "simnet", "-node-away", "30s", "-pool-address", "x"}, io.Discard)
	want := nodeSettings{nodeRPC: "https://n:8334", nodeAuthFile: "a", nodeCA: "c",
		nodeChain: "simnet", nodeAway: 30 * time.Second, poolAddress: "x"}
	if err != nil || got.nodeSettings != want {
		t.Errorf("got  %+v, %v\nwant %+v", got.nodeSettings, err, want)
	}
}

func TestRejectsFlagsThatDoNotFitANode(t *testing.T) {
	good := []string{"-node-rpc", "http://n:1", "-node-cookie", "c", "-pool-fee", "0"}
	if _, err := parseFlags(good, io.Discard); err != nil {
		t.Errorf("%v: %v", good, err)
	}
	for more, want := range map[string]string{
		"-node-auth-file a":      "either -node-cookie or -node-auth-file",
		"-pool-fee 1":            "-pool-address",
		"-node-away 0":           "more than 0",
		"-datadir d":             "-datadir: with -node-rpc",
		"-network-bits 1d100000": "-network-bits: with -node-rpc",
		"-test-tip-every 5s":     "-test-tip-every: with -node-rpc",
	} {
		_, err := parseFlags(append(slices.Clip(good), strings.Fields(more)...), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant a word of %q", more, err, want)
		}
	}
}

func TestTestAddressesAreOfTheNodesChain(t *testing.T) {
	for chain, prefix := range map[string]string{"main": "bc1q", "testnet4": "tb1q", "simnet": "sb1q"} {
		var out, errs bytes.Buffer
		code := run([]string{"-test-address", "-node-chain", chain}, &out, &errs)
		if code != exitOK || !strings.HasPrefix(out.String(), prefix) {
			t.Errorf("%s: code %d, %q, %q", chain, code, out.String(), errs.String())
		}
	}
}

func TestHelpExplainsEveryFlag(t *testing.T) {
	var help bytes.Buffer
	if _, err := parseFlags([]string{"-help"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"socket", "socket-mode", "listen", "tls-ca",
		"tls-cert", "tls-key", "tls-name", "allow-plain-tcp", "datadir", "network-bits", "journal",
		"share-seconds", "min-difficulty", "max-difficulty", "pool-fee", "extranonce-size",
		"template-seconds", "log-format", "log-level", "test-tip-every", "test-address", "node-rpc",
		"events", "node-cookie", "node-auth-file", "node-ca", "node-chain", "node-away", "pool-address"} {
		if !strings.Contains(help.String(), "\n  -"+name) {
			t.Errorf("no word of -%s", name)
		}
	}
	var out, errs bytes.Buffer
	if code := run([]string{"-h"}, &out, &errs); code != exitOK || out.String() != help.String() ||
		errs.Len() > 0 {
		t.Errorf("-h: code %d, %q", code, errs.String())
	}
	if code := run([]string{"-pool-fee", "x"}, &out, &errs); code != exitUsage ||
		!strings.Contains(errs.String(), "-pool-fee") {
		t.Errorf("bad flag: code %d, %q", code, errs.String())
	}
}
