// translator_sv2, SRI's proxy for Stratum V1 miners: extended channels.

package interop

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/tests/interop/sv1"
)

// setup is one way to run the proxy.
type setup struct {
	aggregate bool
	miners    int
	// vardiff: the proxy sets its miners' difficulties, and tells the pool with UpdateChannel.
	// Otherwise it hands on the pool's.
	vardiff bool
	// extranonceSize is what each Stratum V1 miner rolls, in bytes.
	extranonceSize int
	// ehash: the sidecar has a bridge to a mint, and the proxy's miners want what they earn paid there.
	ehash bool
}

// What the pool gives to a channel, in bytes: a prefix, and what is rolled, however little is asked for.
const (
	prefix  = 4
	granted = 8
)

// rollable is the version bits that the proxy grants: those of BIP323. bothEnds are the first and the
// last of them.
const (
	rollable = 0x1fffffe0
	bothEnds = 1<<5 | 1<<28
)

func TestTranslatorAggregated(t *testing.T) {
	t.Run("OneMiner", func(t *testing.T) {
		translate(t, setup{aggregate: true, miners: 1, extranonceSize: 4})
	})
	t.Run("TwoMiners", func(t *testing.T) {
		translate(t, setup{aggregate: true, miners: 2, vardiff: true, extranonceSize: 6})
	})
}

func TestTranslatorNonAggregated(t *testing.T) {
	t.Run("OneMiner", func(t *testing.T) {
		translate(t, setup{miners: 1, extranonceSize: 4})
	})
	t.Run("TwoMiners", func(t *testing.T) {
		translate(t, setup{miners: 2, extranonceSize: 8})
	})
}

func translate(t *testing.T, s setup) {
	program := peer(t, "translator_sv2")
	l := s.startLine(t)
	proxy := startProxy(t, l, program, s)
	var miners []*sv1.Miner
	for i := range s.miners {
		miners = append(miners, dialMiner(t, proxy.miners, fmt.Sprintf("rig%d", i)))
	}
	accepted := func() map[string]int { return l.books("minipool").byUser() }
	// mined waits until each channel has some accepted shares more than before.
	mined := func(before map[string]int, more int) {
		t.Helper()
		proxy.eventually("shares on all channels", func() bool {
			now := accepted()
			enough := len(now) == s.channels()
			for user := range now {
				enough = enough && now[user] >= before[user]+more
			}
			return enough
		})
	}
	mined(nil, 25)
	l.newTip()
	mined(accepted(), 30)
	proxy.eventually("each miner follows tips and difficulties", func() bool {
		followed := l.books("minipool").rise() > 1
		for _, miner := range miners {
			stats := statsOf(t, miner)
			changes := len(slices.Compact(stats.Difficulties))
			followed = followed && stats.Tips > 1 && (s.vardiff || changes > 1)
		}
		return followed
	})

	for _, miner := range miners {
		miner.Pause()
	}
	proxy.eventually("its miners have their answers", func() bool {
		for _, miner := range miners {
			if s := statsOf(t, miner); s.Accepted+total(s.Rejected) != s.Submitted {
				return false
			}
		}
		return true
	})
	channels := proxy.settle()
	s.checkChannels(t, proxy, channels)
	s.checkMiners(t, proxy, miners, channels)
	for _, miner := range miners {
		if err := miner.Close(); err != nil {
			t.Error(err)
		}
	}
	proxy.stop()
	s.checkUpdates(t, proxy)
	s.checkPaid(t, l)
	sidecar, minipool := l.stop()
	s.compare(t, channels, sidecar, minipool)
}

// channels is how many channels the proxy opens.
func (s setup) channels() int {
	if s.aggregate {
		return 1
	}
	return s.miners
}

// compare puts the proxy's own counts beside the pool's.
func (s setup) compare(t *testing.T, channels []channel, sidecar, minipool books) {
	t.Helper()
	acknowledged, byUser := 0, map[string]int{}
	rejected := map[string]int{}
	for _, c := range channels {
		acknowledged += c.Acknowledged
		byUser[strings.Replace(c.User, s.payout(), "", 1)] += c.Acknowledged
		for reason, count := range c.Reasons {
			rejected[reason] += count
		}
		if c.Submitted != c.Acknowledged+c.Rejected {
			t.Errorf("channel %d: %d submitted, %d acknowledged, %d rejected", c.ID, c.Submitted,
				c.Acknowledged, c.Rejected)
		}
	}
	t.Logf("translator: %d acknowledged (%v), rejected %v; minipool: %d accepted (%v), %d tips, "+
		"difficulties %v; sidecar: rejected %v", acknowledged, byUser, rejected, minipool.accepted(),
		minipool.byUser(), len(minipool.of("tip")), minipool.difficulties(), sidecar.rejected())
	if acknowledged != minipool.accepted() || acknowledged < 50*s.channels() {
		t.Errorf("accepted: %d by the proxy's count, %d by minipool's, want %d or more",
			acknowledged, minipool.accepted(), 50*s.channels())
	}
	if booked := minipool.byUser(); !maps.Equal(byUser, booked) {
		t.Errorf("accepted by user: the proxy counts %v, minipool %v", byUser, booked)
	}
	checkRejects(t, sidecar, minipool, 0)
	if told := sidecar.rejected(); !maps.Equal(rejected, told) {
		t.Errorf("rejected: the proxy counts %v, the sidecar %v", rejected, told)
	}
}

// checkChannels looks at what the proxy was granted.
func (s setup) checkChannels(t *testing.T, proxy *proxy, channels []channel) {
	t.Helper()
	asked := s.extranonceSize
	if s.aggregate {
		asked += 2
	}
	opens := proxy.count("Sending OpenExtendedMiningChannel message",
		fmt.Sprintf("min_extranonce_size: %d ", asked))
	grants := proxy.count("Received: OpenExtendedMiningChannelSuccess",
		fmt.Sprintf("extranonce_size: %d,", granted))
	if opens != s.channels() || grants != opens || len(channels) != opens {
		t.Errorf("%d channels opened with %d extranonce bytes asked, %d with %d granted; %d are open",
			opens, asked, grants, granted, len(channels))
	}
	for _, c := range channels {
		if c.FullSize != prefix+granted || !c.VersionRolling {
			t.Errorf("channel %d: %+v, want %d extranonce bytes", c.ID, c, prefix+granted)
		}
	}
}

// checkMiners looks at what the miners behind the proxy have seen.
func (s setup) checkMiners(
	t *testing.T, proxy *proxy, miners []*sv1.Miner, channels []channel,
) {
	t.Helper()
	sent := 0
	for i, miner := range miners {
		stats := statsOf(t, miner)
		t.Logf("miner %d: %+v", i, stats)
		sent += stats.Accepted
		if stats.VersionMask != rollable || stats.BitsRolled&bothEnds != bothEnds ||
			stats.BitsRolled&^rollable != 0 {
			t.Errorf("miner %d: mask %08x, want %08x; in %d shares it rolled %08x, want both ends",
				i, stats.VersionMask, rollable, stats.VersionsRolled, stats.BitsRolled)
		}
		if stats.ExtranonceSize != s.extranonceSize {
			t.Errorf("miner %d rolls %d bytes, want %d", i, stats.ExtranonceSize, s.extranonceSize)
		}
		if lost := total(stats.Rejected); lost > 3*stats.Jobs && lost > stats.Submitted/10 {
			t.Errorf("miner %d: %v rejected with %d jobs", i, stats.Rejected, stats.Jobs)
		}
	}
	// The proxy keeps back what it holds to be stale, and with its own vardiff what is too easy for
	// the pool. The miners never hear of that.
	kept := proxy.count("SubmitSharesExtended rejected by upstream channel validation")
	came := 0
	for _, c := range channels {
		came += c.Submitted
	}
	if came+kept > sent || (!s.vardiff && came+kept != sent) {
		t.Errorf("%d shares of the miners became %d at the pool; the proxy kept %d", sent, came, kept)
	}
}

// checkUpdates: a proxy that sets difficulties itself reports them for the channel that it shares.
func (s setup) checkUpdates(t *testing.T, proxy *proxy) {
	t.Helper()
	updates := proxy.count("Sending UpdateChannel message to upstream")
	refused := proxy.count("UpdateChannelError")
	if (updates > 0) != s.vardiff || refused > 0 {
		t.Errorf("%d UpdateChannel sent, %d refused", updates, refused)
	}
}

func dialMiner(t *testing.T, address, name string) *sv1.Miner {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	miner, err := sv1.Dial(ctx, address, name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() { _ = miner.Close() })
	return miner
}

func statsOf(t *testing.T, miner *sv1.Miner) sv1.Stats {
	t.Helper()
	stats, err := miner.Stats()
	if err != nil {
		t.Fatalf("the miner's connection ended: %v", err)
	}
	return stats
}
