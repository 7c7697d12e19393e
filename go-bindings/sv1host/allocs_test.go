//go:build !race

// What a share takes from the heap. Not with the race detector, which has pools forget what they keep.

package sv1host

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// counter is a Sink that counts verdicts, and keeps none.
type counter struct {
	*tape
	verdicts chan int
}

func (c *counter) Verdicts(verdicts []sv2.Verdict) { c.verdicts <- len(verdicts) }

// A share takes nothing of the heap on its way to the line for the pool, and from the pool's answer back.
func TestTakesNoObjectForAShare(t *testing.T) {
	const runs, size = 100, 16
	for name, between := range map[string]string{"at once": "", "through the queue": " \n"} {
		t.Run(name, func(t *testing.T) {
			answers := make([]byte, 0, 1<<12)
			r := newRig(t, usual(), func(o *Options) {
				o.Serve = func(_ context.Context, conn net.Conn) { grantAll(conn, answers, between) }
			})
			sink := &counter{tape: newTape(), verdicts: make(chan int, size)}
			channel, opened, err := r.OpenChannel(t.Context(), extendedRequest(), sink)
			if err != nil {
				t.Fatal(err)
			}
			m := &miner{t: t, Channel: channel, opened: opened}
			defer m.Close("the test is over")
			shares := make([]sv2.Submit, 0, (runs+1)*size)
			for range cap(shares) {
				shares = append(shares, m.share(opened.Job))
			}
			objects := testing.AllocsPerRun(runs, func() {
				m.Submit(shares[:size])
				shares = shares[size:]
				for left := size; left > 0; {
					left -= <-sink.verdicts
				}
			}) / size
			t.Logf("%.3f objects a share", objects)
			if objects >= 0.5 {
				t.Errorf("%.2f objects a share", objects)
			}
		})
	}
}

// grantAll is a pool that takes no memory: it agrees to the open, and then to all that has a number. Before
// its answers it writes what is given.
func grantAll(conn net.Conn, answers []byte, before string) {
	usual := usual()
	lines := bufio.NewReader(conn)
	submits := []byte(`"mining.submit"`)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		id, rest, _ := bytes.Cut(bytes.TrimPrefix(line, []byte(`{"id":`)), []byte(","))
		if bytes.Contains(rest, submits) {
			answers = append(append(append(answers, `{"id":`...), id...), `,"result":true,"error":null}`+"\n"...)
			if lines.Buffered() > 0 {
				continue
			}
			if before != "" {
				_, _ = io.WriteString(conn, before)
			}
			_, _ = conn.Write(answers)
			answers = answers[:0]
			continue
		}
		for method, answer := range usual.answers {
			if bytes.Contains(rest, []byte(method)) {
				_, _ = fmt.Fprintf(conn, `{"id":%s,%s}`+"\n%s", id, answer, usual.then[method])
			}
		}
	}
}
