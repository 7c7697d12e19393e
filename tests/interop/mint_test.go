// The bridge to a mint beside the peers: programs that have never heard of it mine as ever.

package interop

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

const (
	// payoutKey is the generator of secp256k1 (SEC 2): whose wallet is paid is no matter here.
	payoutKey = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	// unitDifficulty is what makes one unit of ehash, 2^-16.
	unitDifficulty = "0.0000152587890625"
	// unit is the same in units of 2^-32.
	unit = 1 << 16
)

func TestTranslatorWithAMint(t *testing.T) {
	t.Run("Aggregated", func(t *testing.T) {
		translate(t, setup{aggregate: true, miners: 2, vardiff: true, extranonceSize: 6, ehash: true})
	})
	t.Run("NonAggregated", func(t *testing.T) {
		translate(t, setup{miners: 2, extranonceSize: 8, ehash: true})
	})
}

// payout is what the proxy has behind the name that it mines for.
func (s setup) payout() string {
	if !s.ehash {
		return ""
	}
	return "~ehash=" + payoutKey
}

// startLine is the line that the proxy needs: with a mint, if there is to be ehash.
func (s setup) startLine(t *testing.T) *line {
	t.Helper()
	if !s.ehash {
		return startLine(t)
	}
	mint := required(t, "MINT_BIN")
	api, processor := freeAddresses(t)
	l := startLineWith(t, fmt.Sprintf(`[mint]
ledger_file = "ledger.db"
url = "http://%s"
seal_interval_sec = 1
unit_difficulty = %q
[mint.processor]
listen = %q
allow_plain = true
`, api, unitDifficulty, processor))
	l.mint = start(t, l.directory, "mint", mint, processor, api)
	l.mint.await("mint at ")
	return l
}

// checkPaid waits until the mint was paid what the pool has booked, to the unit of each account.
func (s setup) checkPaid(t *testing.T, l *line) {
	t.Helper()
	if !s.ehash {
		return
	}
	want, accounts := uint64(0), l.books("minipool").work()
	for _, work := range accounts {
		want += work / unit
	}
	if len(accounts) != s.channels() || want == 0 {
		t.Errorf("%d units for %v", want, accounts)
	}
	var paid uint64
	l.mint.eventually(fmt.Sprintf("%d units are paid", want), func() bool {
		told := l.mint.text()
		if at := strings.LastIndex(told, "paid="); at >= 0 {
			number, _, _ := strings.Cut(told[at+len("paid="):], "\n")
			paid, _ = strconv.ParseUint(number, 10, 64)
		}
		return paid == want
	}, &paid)
	t.Logf("the mint was paid %d units for %v", paid, accounts)
}

// work is what was credited, in units of 2^-32, by user identity.
func (b books) work() map[string]uint64 {
	sums := map[string]uint64{}
	for _, e := range b.of("verdict") {
		if e.Accepted {
			sums[e.User] += e.Credit.Whole<<32 + e.Credit.Fraction
		}
	}
	return sums
}
