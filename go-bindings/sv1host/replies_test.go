// Replies as pools write them: alone, several at once, in pieces.

package sv1host

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// Whatever a pool puts into one write, each share gets its own verdict, once.
func TestUnderstandsRepliesHoweverTheyAreWritten(t *testing.T) {
	const no = `"result":null,"error":[21,"stale",null]`
	for name, cut := range map[string]func(lines string) []string{
		"one by one":  func(lines string) []string { return strings.SplitAfter(lines, "\n") },
		"all at once": func(lines string) []string { return []string{lines} },
		"by twos": func(lines string) []string {
			all := strings.SplitAfter(lines, "\n")
			return []string{all[0] + all[1], all[2] + all[3], all[4] + all[5], strings.Join(all[6:], "")}
		},
		"in pieces of 50 bytes": func(lines string) (pieces []string) {
			for len(lines) > 50 {
				pieces, lines = append(pieces, lines[:50]), lines[50:]
			}
			return append(pieces, lines)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, usual(), nil)
			m := r.open(extendedRequest())
			defer m.end()
			batch := make([]sv2.Submit, 8)
			for i := range batch {
				batch[i] = m.share(m.opened.Job)
			}
			m.Submit(batch)
			var lines strings.Builder
			want := make(map[uint64]sv2.RejectReason)
			for i := range batch {
				answer := yes
				if i == 4 || i == 6 {
					answer = no
					want[batch[i].ID] = sv2.RejectStale
				}
				a := m.peer.submit()
				fmt.Fprintf(&lines, "{\"id\":%s,%s}\n", a.ID, answer)
				if i == 2 {
					lines.WriteString(difficultyLine(easyDifficulty)) // of the next job
				}
			}
			for _, written := range cut(lines.String() + `{"id":99999,` + yes + "}\n") {
				m.peer.write(written)
			}
			for _, got := range await[sv2.Verdict](t, m.tape, len(batch)) {
				reason, owed := want[got.SubmitID]
				if !owed {
					reason = sv2.RejectNone
				}
				if got.Reason != reason || got.Hash == (sv2.Hash{}) {
					t.Errorf("%+v, want %v", got, reason)
				}
			}
			if n := m.Channel.(*channel).waiting(); n != 0 {
				t.Errorf("%d shares still wait", n)
			}
		})
	}
}
