// The command line.

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/chain"
	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// defaultMinDifficulty is 2^-14, a share each 262144 hashes: what one slow CPU core finds
	// several times a second. Vardiff goes up from there.
	defaultMinDifficulty = 1.0 / (1 << 14)

	// leastDifficulty is the smallest difficulty that credit can express.
	leastDifficulty = 1.0 / (1 << 32)

	// maxExtranonceSize leaves room for the prefix in the 32 bytes that SV2 can carry.
	maxExtranonceSize = template.MaxExtranonceLen - sv2.DefaultPrefixSize

	logText = "text"
	logJSON = "json"
)

// settings is the command line, checked.
type settings struct {
	socket         string
	socketMode     socketMode
	listen         listenAddress // "": the socket
	tls            grpchost.TLSOptions
	allowPlainTCP  bool
	dataDir        string
	networkBits    compactBits
	journal        string
	counters       string // "": none
	shareSeconds   float64
	minDifficulty  float64
	maxDifficulty  float64 // 0: none
	poolFee        float64 // percent
	extranonceSize int
	templateEvery  time.Duration
	logFormat      string
	logLevel       slog.Level
	testTipEvery   time.Duration // 0: never
	testAddress    bool
	carrierSettings
	nodeSettings
	sv1Settings
}

const helpHead = `Minipool: a small, real mining pool behind a Stratum V2 sidecar.

It keeps a blockchain of its own in this process, builds work on it, judges every share and
submits every block. Nothing to install, no node, no network: the way in is the Unix socket, or the
TLS port, that the sidecar dials; with -sv1 there is a port for Stratum V1 miners, too.

  minipool -socket ./minipool.sock -journal ./shares.jsonl

Or it mines on the chain of a Bitcoin node:

  minipool -node-rpc http://127.0.0.1:8332 -node-cookie ~/.bitcoin/.cookie -pool-address ADDRESS

Miners give ADDRESS or ADDRESS.worker as their user identity; each block pays the address of the
miner who found it, less the pool's fee. minipool -test-address prints an address to try it with.

SIGINT or SIGTERM stops cleanly, a second one at once. SIGUSR1 mines one block in this process,
SIGUSR2 gives miners new work on the same tip.

Flags:
`

// parseFlags reads the command line. Help goes to out and gives flag.ErrHelp; any other error names
// everything that is wrong and the remedy.
func parseFlags(args []string, out io.Writer) (settings, error) {
	s := settings{
		socketMode:  socketMode(grpchost.DefaultSocketMode),
		networkBits: compactBits(chain.DefaultNetworkBits),
	}
	var templateSeconds float64
	set := flag.NewFlagSet("minipool", flag.ContinueOnError)
	set.SetOutput(io.Discard) // the error is returned, once, without the list of flags
	set.StringVar(&s.socket, "socket", "./minipool.sock",
		"`path` of the Unix socket that the sidecar dials; removed at the end")
	set.Var(&s.socketMode, "socket-mode",
		"permissions of the socket, `octal`: 0600 for this user only, 0660 for the group too")
	s.defineListen(set)
	set.StringVar(&s.dataDir, "datadir", "",
		"`directory` that keeps the chain and its wallet; empty: a temporary chain, gone at the end")
	set.Var(&s.networkBits, "network-bits",
		"compact network target, `hex`; 1d100000 is 2^28 hashes a block, 207fffff two hashes\n"+
			"(a chain in -datadir keeps the bits it was made with)")
	set.StringVar(&s.journal, "journal", "",
		"`file` to which every verdict is appended, as a line of JSON, before it is told; empty: none")
	set.StringVar(&s.counters, "counters", "",
		"`path` of a Unix socket, for this user only, that gives each who connects a line of JSON:\n"+
			"goroutines, bytes of the heap, channels; empty: none")
	set.Float64Var(&s.shareSeconds, "share-seconds", 3,
		"`seconds` between two shares of a channel, which vardiff aims at")
	set.Float64Var(&s.minDifficulty, "min-difficulty", defaultMinDifficulty,
		"`difficulty` of the easiest share taken, and of the first ones of a miner that doesn't tell\n"+
			"its hash rate; the default is 2^-14, for CPU miners")
	set.Float64Var(&s.maxDifficulty, "max-difficulty", 0,
		"hardest `difficulty` that vardiff assigns; 0: no limit")
	set.Float64Var(&s.poolFee, "pool-fee", 2,
		"`percent` of each block for the pool; with the chain of this process its wallet spends them,\n"+
			"so that templates carry transactions")
	set.IntVar(&s.extranonceSize, "extranonce-size", sv2.DefaultExtranonceSize,
		"`bytes` that the miner of an extended channel rolls")
	set.Float64Var(&templateSeconds, "template-seconds", 30,
		"`seconds` after which miners get new work though there is no new tip")
	set.StringVar(&s.logFormat, "log-format", logText, "`format` of the log: text or json")
	set.TextVar(&s.logLevel, "log-level", slog.LevelInfo,
		"`level` of the log: debug (each share), info, warn or error")
	set.DurationVar(&s.testTipEvery, "test-tip-every", 0,
		"for tests: mine a block in this process each `interval`, such as 5s; 0: never.\n"+
			"Give easy -network-bits, or a block takes a minute of CPU")
	set.BoolVar(&s.testAddress, "test-address", false,
		"for tests: print a new payout address, whose key nobody has, and exit; of the chain in this\n"+
			"process, or of -node-chain")
	s.carrierSettings.define(set)
	s.nodeSettings.define(set)
	s.sv1Settings.define(set)

	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, helpHead)
		set.SetOutput(out)
		set.PrintDefaults()
		return s, err
	case err != nil:
		return s, err
	case set.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q: there are flags only", set.Arg(0))
	}
	s.templateEvery = time.Duration(templateSeconds * float64(time.Second))
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return s, errors.Join(s.check(templateSeconds), s.checkListen(set), s.carrierSettings.check(given), s.nodeSettings.check(given, s.poolFee),
		s.sv1Settings.check())
}

// check names everything that is wrong.
func (s settings) check(templateSeconds float64) error {
	var faults []error
	fault := func(wrong bool, format string, values ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, values...))
		}
	}
	// The comparisons are turned so that NaN fails, too.
	fault(s.socket == "", "-socket is empty: give a path")
	fault(!(s.shareSeconds >= 0.01 && s.shareSeconds <= 3600),
		"-share-seconds %v: give 0.01 to 3600", s.shareSeconds)
	fault(!(s.minDifficulty >= leastDifficulty && !math.IsInf(s.minDifficulty, 1)),
		"-min-difficulty %v: give at least 2^-32 (2.4e-10), the smallest that credit can express",
		s.minDifficulty)
	fault(!(s.maxDifficulty == 0 || s.maxDifficulty >= s.minDifficulty) ||
		math.IsInf(s.maxDifficulty, 1),
		"-max-difficulty %v: give 0 for none, or at least -min-difficulty (%v)",
		s.maxDifficulty, s.minDifficulty)
	fault(!(s.poolFee >= 0 && s.poolFee <= 100), "-pool-fee %v: give 0 to 100 percent", s.poolFee)
	fault(s.extranonceSize < 1 || s.extranonceSize > maxExtranonceSize,
		"-extranonce-size %d: give 1 to %d", s.extranonceSize, maxExtranonceSize)
	fault(!(templateSeconds >= 0.1 && templateSeconds <= 86400),
		"-template-seconds %v: give 0.1 to 86400", templateSeconds)
	fault(s.logFormat != logText && s.logFormat != logJSON,
		"-log-format %q: give text or json", s.logFormat)
	fault(s.testTipEvery < 0, "-test-tip-every %v: give 0 or more", s.testTipEvery)
	return errors.Join(faults...)
}

// compactBits is a network target as a flag: hexadecimal, with or without 0x.
type compactBits uint32

// String is the flag's value as it is written.
func (b *compactBits) String() string { return fmt.Sprintf("%08x", uint32(*b)) }

// Set takes bits that the chain can work with.
func (b *compactBits) Set(text string) error {
	bits, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(text), "0x"), 16, 32)
	if err != nil {
		return errors.New("not a number of up to 8 hexadecimal digits, such as 1d100000")
	}
	*b = compactBits(bits)
	return chain.ValidateBits(uint32(bits))
}

// socketMode is the permissions of a socket as a flag.
type socketMode fs.FileMode

// String is the flag's value as it is written.
func (m *socketMode) String() string { return fmt.Sprintf("%#o", uint32(*m)) }

// Set takes permissions that leave the socket to the pool's user and group.
func (m *socketMode) Set(text string) error {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > 0o777 {
		return errors.New("not octal permissions such as 0660")
	}
	if mode&0o600 != 0o600 {
		return errors.New("the pool's own user must read and write: give 0600 or 0660")
	}
	if mode&0o007 != 0 {
		return errors.New("who connects decides what is mined, so not everybody may: give 0660, " +
			"and run the sidecar with the pool's group")
	}
	*m = socketMode(mode)
	return nil
}
