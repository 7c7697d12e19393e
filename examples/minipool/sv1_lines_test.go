// What the Stratum V1 port answers to miners that are odd, broken or hostile.

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// rawLine is a connection on which anything can be said.
type rawLine struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Scanner
}

func dialRaw(t *testing.T, r *rig) *rawLine {
	t.Helper()
	conn, err := net.Dial("tcp", r.sv1.listener.Addr().String())
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	return &rawLine{t, conn, lines}
}

// ask says something and gives the answer, past notifications; "" when the port hung up.
func (l *rawLine) ask(line string) string {
	l.t.Helper()
	if _, err := io.WriteString(l.conn, line+"\n"); err != nil {
		return ""
	}
	for l.lines.Scan() {
		if !strings.Contains(l.lines.Text(), `"method":`) {
			return l.lines.Text()
		}
	}
	return ""
}

func TestAnswersOddMinersOnStratumV1(t *testing.T) {
	r := newRig(t, t.TempDir(), "-sv1", "127.0.0.1:0")
	user := payoutAddress(t)
	for _, exchange := range [][2]string{
		{`{"id":1,"method":"mining.ping"}`, `{"id":1,"result":"pong","error":null}`},
		{`{"id":"a","method":"mining.authorize","params":["u"]}`, `{"id":"a","result":null,"error":[25,"not subscribed",null]}`},
		{`{"id":2,"method":"mining.submit","params":[]}`, `{"id":2,"result":false,"error":[24,"unauthorized",null]}`},
		{`{"id":3,"method":"mining.configure","params":"x"}`, `parse error`},
	} {
		l := dialRaw(t, r)
		if got := l.ask(exchange[0]); !strings.Contains(got, exchange[1]) {
			t.Errorf("%s: %s", exchange[0], got)
		}
	}
	l := dialRaw(t, r)
	for _, exchange := range [][2]string{
		{``, ``}, // an empty line is none
		{`{"id":1,"method":"mining.subscribe","params":[null]}`, `"mining.notify"`},
		{`{"id":2,"method":"mining.subscribe","params":[]}`, `[20,"already subscribed",null]`},
		{`{"id":3,"method":"mining.extranonce.subscribe"}`, `{"id":3,"result":true,"error":null}`},
		{`{"id":4,"method":"mining.configure","params":[]}`, `[20,"invalid params",null]`},
		{`{"id":5,"method":"mining.configure","params":[["version-rolling","subscribe-extranonce"],{"version-rolling.mask":"00ffe000"}]}`,
			`{"subscribe-extranonce":false,"version-rolling":true,"version-rolling.mask":"00ffe000"}`},
		{`{"id":6,"method":"mining.configure","params":[["minimum-difficulty"],{"minimum-difficulty.value":-1}]}`,
			`{"minimum-difficulty":false}`},
		{`{"id":7,"method":"mining.configure","params":[["minimum-difficulty"],{"minimum-difficulty.value":1000000}]}`,
			`{"minimum-difficulty":false}`}, // harder than the pool can
		{`{"id":8,"method":"mining.suggest_difficulty","params":["x"]}`, `[20,"invalid params",null]`},
		{`{"id":9,"method":"mining.suggest_difficulty","params":[1e300]}`, `{"id":9,"result":true,"error":null}`},
		{`{"id":10,"method":"mining.authorize","params":[7]}`, `[20,"invalid params",null]`},
		{`{"id":11,"method":"mining.authorize","params":["` + user + `"]}`, `{"id":11,"result":true,"error":null}`},
		{`{"id":12,"method":"mining.authorize","params":["` + user + `","x"]}`, `{"id":12,"result":true,"error":null}`},
		{`{"id":13,"method":"mining.authorize","params":["` + user + `.b"]}`, `[24,"one user for each connection",null]`},
		{`{"id":14,"method":"mining.nonsense","params":[]}`, `[-32601,"method not found",null]`},
		{`{"id":15,"result":true}`, ``},
		{submitLine(16, user, "zz", "00", "00000000", "00000000"), `[21,"invalid-job-id",null]`},
		{submitLine(17, user, "1", "0", "00000000", "00000000"), `[20,"bad-extranonce-size",null]`},
		{submitLine(18, user, "1", "00", "x", "00000000"), `[20,"invalid-share",null]`},
		{submitLine(19, user, "1", "00", "00000000", "00000000", "x"), `[20,"invalid-share",null]`},
		{submitLine(20, user+".b", "1", "00", "00000000", "00000000"), `[24,"unauthorized",null]`},
		{`{"id":21,"method":"mining.submit","params":[1,2,3,4,5]}`, `[20,"invalid params",null]`},
		{`{"id":22,"method":"mining.suggest_difficulty","params":[1e-9]}`, `{"id":22,"result":true,"error":null}`},
	} {
		if exchange[1] == "" {
			_, _ = io.WriteString(l.conn, exchange[0]+"\n")
			continue
		}
		if got := l.ask(exchange[0]); !strings.Contains(got, exchange[1]) {
			t.Errorf("%s: %s, want %s", exchange[0], got, exchange[1])
		}
	}
	// Ids that don't rise, and one that is no number: each answer has that of its question.
	for _, id := range []string{"5", "5", "1", `"x"`, "null", "-3", "18446744073709551615"} {
		line := strings.Replace(submitLine(0, user, "1", "0000000000000000", "00000000", "00000000"),
			`"id":0`, `"id":`+id, 1)
		if got := l.ask(line); !strings.HasPrefix(got, `{"id":`+id+`,"result":false,"error":[21,`) {
			t.Errorf("id %s: %s", id, got)
		}
	}
}

func submitLine(id int, fields ...string) string {
	params, _ := json.Marshal(fields)
	return fmt.Sprintf(`{"id":%d,"method":"mining.submit","params":%s}`, id, params)
}

func TestEndsStratumV1ConnectionsThatAreNone(t *testing.T) {
	r := newRig(t, t.TempDir(), "-sv1", "127.0.0.1:0")
	subscribe := `{"id":1,"method":"mining.subscribe","params":[]}` + "\n"
	for name, line := range map[string]string{
		"HTTP": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "a long line": strings.Repeat("x", 20<<10),
		"nobody to pay": subscribe + `{"id":2,"method":"mining.authorize","params":["nobody"]}`,
	} {
		l := dialRaw(t, r)
		_, _ = io.WriteString(l.conn, line+"\n")
		for l.lines.Scan() {
		}
		if err := l.lines.Err(); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The pool forgets them.
	eventually(t, "no channel is left", func() bool { return len(r.pool.Channels()) == 0 })
	l := dialRaw(t, r)
	user := payoutAddress(t)
	l.ask(subscribe)
	if got := l.ask(submitLine(3, user)); !strings.Contains(got, "unauthorized") {
		t.Errorf("a submit before authorize: %s", got)
	}
	l.ask(`{"id":4,"method":"mining.authorize","params":["` + user + `"]}`)
	if n := len(r.pool.Channels()); n != 1 {
		t.Errorf("%d channels", n)
	}
	_ = l.conn.Close()
	eventually(t, "the channel is closed", func() bool { return len(r.pool.Channels()) == 0 })
}
