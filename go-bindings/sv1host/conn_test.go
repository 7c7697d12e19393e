// What the connection in memory promises the pool.
package sv1host

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func testConn(limit int) *memoryConn {
	return newConn(sv2.OpenRequest{Connection: sv2.Connection{RemoteAddress: "192.0.2.1:4000"}},
		limit, func() {})
}

func TestReadGivesUpAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConn(1)
		start := time.Now()
		if err := c.SetReadDeadline(start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		var network net.Error
		_, err := c.Read(make([]byte, 9))
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &network) || !network.Timeout() {
			t.Errorf("at the deadline: %v", err)
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("waited %v", waited)
		}
		if _, err := c.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		// A new deadline, or none, is in force at once, for a Read that waits, too.
		go func() {
			time.Sleep(time.Hour)
			_ = c.SetReadDeadline(time.Now().Add(-1))
		}()
		_ = c.SetReadDeadline(time.Time{})
		if _, err := c.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) ||
			time.Since(start) < time.Hour {
			t.Errorf("without a deadline: %v after %v", err, time.Since(start))
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		c.send([]byte("late"))
		got := make([]byte, 9)
		if n, err := c.Read(got); err != nil || string(got[:n]) != "late" {
			t.Errorf("read %q, %v", got[:n], err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("write: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write after its deadline: %v", err)
		}
		_ = c.Close()
	})
}

func TestReadEndsBehindWhatWasSent(t *testing.T) {
	c := testConn(1)
	c.send([]byte("one\n"))
	c.hangUp()
	if c.send([]byte("two\n")) {
		t.Error("sent after hanging up")
	}
	all, err := io.ReadAll(c)
	if err != nil || string(all) != "one\n" {
		t.Errorf("read %q, %v", all, err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write to a miner who left: %v", err)
	}
}

func TestCloseEndsAReadThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConn(1)
		ended := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 9))
			ended <- err
		}()
		synctest.Wait()
		_ = c.Close()
		if err := <-ended; err != io.EOF {
			t.Errorf("read: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		if c.SetDeadline(time.Now()) == nil {
			t.Error("a closed connection takes a deadline")
		}
		if err := c.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestWriteNeverBlocksAndIsBounded(t *testing.T) {
	woken := 0
	c := newConn(sv2.OpenRequest{}, 3, func() { woken++ })
	for range 3 {
		if _, err := c.Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte("half a ")); err != nil {
		t.Errorf("half a line: %v", err)
	}
	if data, ended := c.take(nil, false); string(data) != "line\nline\nline\nhalf a " || ended {
		t.Errorf("taken %q, %v", data, ended)
	}
	// Room again, and then no more.
	if _, err := c.Write([]byte("a\nb\nc\nd\n")); !errors.Is(err, errOverflow) {
		t.Errorf("one line too many: %v", err)
	}
	if _, ended := c.take(nil, false); !ended || !c.overflowed() {
		t.Error("the overflow did not end the connection")
	}
	if woken != 5 {
		t.Errorf("woken %d times", woken)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the overflow: %v", err)
	}
	endless := testConn(3)
	if _, err := endless.Write(make([]byte, maxWaiting+1)); !errors.Is(err, errOverflow) {
		t.Errorf("a line without end: %v", err)
	}
}

func TestAPoolThatReadsNothingIsBounded(t *testing.T) {
	c := testConn(3)
	if !c.send(make([]byte, maxUnread)) || c.send([]byte("x")) {
		t.Error("more waits for the pool than may")
	}
}

func TestNamesTheMiner(t *testing.T) {
	c := testConn(1)
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); !ok || tcp.String() != "192.0.2.1:4000" {
		t.Errorf("remote address %v", c.RemoteAddr())
	}
	odd := newConn(sv2.OpenRequest{Connection: sv2.Connection{RemoteAddress: "a socket"}}, 1, nil)
	if odd.RemoteAddr().String() != "a socket" || odd.RemoteAddr().Network() != "sv2" {
		t.Errorf("remote address %v", odd.RemoteAddr())
	}
	if !strings.Contains(c.LocalAddr().String(), "sv2") {
		t.Errorf("local address %v", c.LocalAddr())
	}
	if request, ok := RequestOf(c); !ok || request.Connection.RemoteAddress != "192.0.2.1:4000" {
		t.Errorf("request %+v, %v", request, ok)
	}
	end, other := net.Pipe()
	defer end.Close()
	defer other.Close()
	if _, ok := RequestOf(end); ok {
		t.Error("any connection has a request")
	}
}

func TestReadsPlainGrantsWithoutJSON(t *testing.T) {
	for line, want := range map[string]uint64{
		`{"id":7,"result":true,"error":null}` + "\n":         7,
		`{"id":7,"result":true,"error":null}`:                7,
		`{"id":4503599627370496,"result":true,"error":null}`: 1 << 52,
	} {
		if id, ok := acceptedID([]byte(line)); !ok || id != want {
			t.Errorf("%s gave %d, %v", line, id, ok)
		}
	}
	for _, line := range []string{
		"", "\n", `{"id":`, `{"id":7`, `{"id":"7","result":true,"error":null}`,
		`{"id":-7,"result":true,"error":null}`, `{"id":7.5,"result":true,"error":null}`,
		`{"id":7,"result":false,"error":null}`, `{"id":7,"result":null,"error":[21,"x",null]}`,
		`{"id":7,"result":true,"error":null}` + "\n" + `{"id":8,"result":true,"error":null}` + "\n",
		`{"id":,"result":true,"error":null}`, ` {"id":7,"result":true,"error":null}`,
		`{"id":99999999999999999999,"result":true,"error":null}`,
	} {
		if id, ok := acceptedID([]byte(line)); ok {
			t.Errorf("%q was taken for %d", line, id)
		}
	}
}

func TestTakesAtOnceOnlyWhatNothingWaitsBefore(t *testing.T) {
	var direct []string
	c := newConn(sv2.OpenRequest{}, 8, func() {})
	c.direct = func(written []byte) []byte {
		direct = append(direct, string(written))
		return bytes.TrimPrefix(written, []byte("taken\n"))
	}
	for _, lines := range []string{"taken\n", "taken\nqueued\ntaken\n", "taken\n"} {
		if n, err := c.Write([]byte(lines)); err != nil || n != len(lines) {
			t.Errorf("Write: %d, %v", n, err)
		}
	}
	if data, _ := c.take(nil, false); string(data) != "queued\ntaken\ntaken\n" || len(direct) != 2 {
		t.Errorf("%q waited, %q were offered at once", data, direct)
	}
	// Nor while the channel is at what it took, or has the beginning of a line.
	for _, begun := range []bool{true, false} {
		if _, err := c.Write([]byte("taken\n")); err != nil || len(direct) != 2 {
			t.Errorf("before what was taken: %v, %q", err, direct)
		}
		if data, _ := c.take(nil, begun); string(data) != "taken\n" {
			t.Errorf("%q waited", data)
		}
	}
	if data, _ := c.take(nil, false); len(data) > 0 {
		t.Errorf("%q waited", data)
	}
	if n, err := c.Write([]byte("taken\n" + strings.Repeat("queued\n", 9))); n != len("taken\n") ||
		!errors.Is(err, errOverflow) {
		t.Errorf("more than may wait: %d bytes taken, %v", n, err)
	}
	if _, err := c.Write([]byte("taken\n")); !errors.Is(err, net.ErrClosed) || len(direct) != 3 {
		t.Errorf("after that: %v, %q", err, direct)
	}
	c = newConn(sv2.OpenRequest{}, 8, func() {})
	c.direct = func([]byte) []byte { t.Error("offered after the end"); return nil }
	c.hangUp()
	if _, err := c.Write([]byte("taken\n")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after the end: %v", err)
	}
}

func TestReadsTheNumberOfAReplyHoweverItIsWritten(t *testing.T) {
	for text, want := range map[string]uint64{
		"7": 7, `"7"`: 7, "1.000001e+06": 1000001, "4.503599627370498e+15": 1<<52 + 2, "7.0": 7,
	} {
		m := message{ID: []byte(text)}
		if id, ok := m.id(); !ok || id != want {
			t.Errorf("%s gave %d, %v", text, id, ok)
		}
	}
	for _, text := range []string{"", "null", "-1", "7.5", "1e300", "NaN", `"x"`, "[7]"} {
		m := message{ID: []byte(text)}
		if id, ok := m.id(); ok {
			t.Errorf("%s gave %d", text, id)
		}
	}
}
