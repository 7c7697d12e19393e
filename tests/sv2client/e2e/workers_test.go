// Shares that name their workers (extension 0x0002), all the way into the books.

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
)

// workers of one proxy: harmless, hostile, of full length, and a share that names none.
var workers = []string{"rig-1", "rig-2", "rig-1", "", "snow ☃", "\x00\xff\"\\\n{\"event\":\"verdict\"}",
	strings.Repeat("\xfe", 32)}

// answered are the workers in the sidecar's journal of answers, in order.
func (l *line) answered() []string {
	l.t.Helper()
	file, err := os.Open(filepath.Join(l.dir, "sidecar.journal"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var found []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var answer struct{ Event, Worker string }
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			l.t.Fatalf("journal: %v: %s", err, lines.Text())
		}
		if answer.Event == "answer" {
			found = append(found, l.unescaped(answer.Worker))
		}
	}
	if err := lines.Err(); err != nil {
		l.t.Fatal(err)
	}
	return found
}

// unescaped are the bytes that a journal wrote in printable characters.
func (l *line) unescaped(text string) string {
	l.t.Helper()
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			l.t.Errorf("journal has %q", text)
		}
	}
	bytes, err := strconv.Unquote(`"` + text + `"`)
	if err != nil {
		l.t.Errorf("journal has %q: %v", text, err)
	}
	return bytes
}

func TestCreditsTheWorkersThatSharesName(t *testing.T) {
	l := start(t, hardBits)
	notes := newNotebook()
	client := l.dial(sv2client.Config{
		Extensions: []uint16{0x4abc, sv2client.ExtensionWorkers, sv2client.ExtensionWorkers},
		Observe: func(m sv2client.Message) {
			switch m := m.(type) {
			case *sv2client.SubmitSharesSuccess:
				notes.hear(m.LastSequenceNumber, "")
			case *sv2client.SubmitSharesError:
				notes.hear(m.SequenceNumber, m.ErrorCode)
			}
		},
	})
	if got := client.Extensions(); !slices.Equal(got, []uint16{sv2client.ExtensionWorkers}) {
		t.Fatalf("in force are %x", got)
	}
	r := &rig{client, "proxy", sv2client.Extended, l.open(client, sv2client.Extended, "proxy"), notes}
	want := map[string]int{}
	for i, worker := range workers {
		work, err := r.channel.WaitWork(l.context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		share := first(work)
		share.Extranonce[0] = byte(i)
		share = find(t, work, share, true)
		share.Worker = worker
		if code := l.submit(r, share); code != "" {
			t.Fatalf("share of %q: %q", worker, code)
		}
		want[worker]++
	}
	l.stop()
	got := map[string]int{}
	for _, v := range l.verdicts(r.worker) { // those of the channel's user identity
		if !v.Accepted {
			t.Errorf("%+v", v)
		}
		got[l.unescaped(v.Worker)]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("the pool's journal credits %#v, want %#v", got, want)
	}
	if got := l.answered(); !slices.Equal(got, workers) {
		t.Errorf("the sidecar's journal answers %q, want %q", got, workers)
	}
}

func TestWithoutTheExtensionNoWorkerIsCredited(t *testing.T) {
	l := start(t, hardBits)
	_, err := sv2client.Dial(l.context(), l.url, sv2client.Config{Extensions: []uint16{0x4abc}})
	var refused *sv2client.ExtensionsError
	if !errors.As(err, &refused) || !slices.Equal(refused.Unsupported, []uint16{0x4abc}) ||
		len(refused.Required) != 0 {
		t.Errorf("%v", err)
	}
	r := l.connect("device", 0, sv2client.Extended)[0]
	work, err := r.channel.WaitWork(l.context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if code := l.submit(r, find(t, work, first(work), true)); code != "" {
		t.Fatal(code)
	}
	l.stop()
	if got := l.verdicts(r.worker); len(got) != 1 || got[0].Worker != "" {
		t.Errorf("the pool's journal has %+v", got)
	}
}
