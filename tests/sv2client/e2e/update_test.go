// Targets, and the encrypted connection without a client on it.

package e2e

import (
	"math"
	"net"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
	"github.com/gopool-sv2/gopool-sv2/tests/sv2client/cpuminer"
)

func TestAnUpdateBindsThePoolToItsMaximumTarget(t *testing.T) {
	l := start(t, hardBits)
	targets := make(chan sv2client.Target, 64)
	refusals := make(chan string, 1)
	client := l.dial(sv2client.Config{Observe: func(m sv2client.Message) {
		switch m := m.(type) {
		case *sv2client.SetTarget:
			targets <- m.MaximumTarget
		case *sv2client.UpdateChannelError:
			refusals <- m.ErrorCode
		}
	}})
	channel := l.open(client, sv2client.Extended, "x")
	if err := channel.Update(l.context(), float32(math.NaN()), sv2client.MaxTarget()); err != nil {
		t.Fatal(err)
	}
	if code := <-refusals; code != "invalid-nominal-hashrate" ||
		channel.UpdateRefused().Code != code {
		t.Errorf("%q", code)
	}
	harder := channel.Target()
	harder[30], harder[31] = 0, 0 // the highest 16 bits are
	for i := range harder[:30] {
		harder[i] /= 4
	}
	if err := channel.Update(l.context(), 1e5, harder); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case target := <-targets:
			if target.Harder(harder) != target {
				continue // vardiff was quicker
			}
		case <-l.context().Done():
			t.Fatal("no target came that obeys the maximum")
		}
		break
	}
	// Shares at the new target are still shares.
	if err := cpuminer.Mine(l.context(), channel, cpuminer.Options{Accepted: 2}); err != nil {
		t.Fatal(err)
	}
	if got := channel.Tally(); got.RejectedSum() != 0 {
		t.Errorf("%+v", got)
	}
	l.stop()
}

// connection is an encrypted connection to the sidecar with nothing said on it.
func (l *line) connection() *sv2client.Conn {
	l.t.Helper()
	stream, err := new(net.Dialer).DialContext(l.context(), "tcp", l.url.Address())
	if err != nil {
		l.t.Fatal(err)
	}
	conn, err := sv2client.Handshake(l.context(), stream, l.url.Authority, sv2client.HandshakeConfig{})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return conn
}

// ask sends m and returns the next message.
func (l *line) ask(conn *sv2client.Conn, m sv2client.Message) sv2client.Message {
	l.t.Helper()
	if err := conn.WriteMessage(l.context(), m); err != nil {
		l.t.Fatal(err)
	}
	answer, err := conn.ReadMessage(l.context())
	if err != nil {
		l.t.Fatal(err)
	}
	return answer
}

func TestTheSidecarAnswersWhatNoGoodClientSends(t *testing.T) {
	l := start(t, hardBits)
	for code, setup := range map[string]sv2client.SetupConnection{
		"protocol-version-mismatch": {MinVersion: 3, MaxVersion: 9},
		"unsupported-protocol":      {Protocol: 7, MinVersion: 2, MaxVersion: 2},
	} {
		answer := l.ask(l.connection(), &setup)
		if refused, ok := answer.(*sv2client.SetupConnectionError); !ok || refused.ErrorCode != code {
			t.Errorf("%#v, want %q", answer, code)
		}
	}
	conn := l.connection()
	setup := &sv2client.SetupConnection{MinVersion: 0, MaxVersion: 65535}
	if answer, ok := l.ask(conn, setup).(*sv2client.SetupConnectionSuccess); !ok ||
		answer.UsedVersion != sv2client.ProtocolVersion {
		t.Fatalf("%#v", answer)
	}
	unknown := &sv2client.Unknown{ExtensionType: 0x4abc, MessageType: 1, Payload: make([]byte, 1000)}
	if err := conn.WriteMessage(l.context(), unknown); err != nil {
		t.Fatal(err)
	}
	answer := l.ask(conn, &sv2client.SubmitSharesStandard{ChannelID: 77, SequenceNumber: 5})
	refused, ok := answer.(*sv2client.SubmitSharesError)
	want := sv2client.SubmitSharesError{ChannelID: 77, SequenceNumber: 5, ErrorCode: "invalid-channel-id"}
	if !ok || *refused != want {
		t.Errorf("%#v", answer)
	}
	l.stop()
}
