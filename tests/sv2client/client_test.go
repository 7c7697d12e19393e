// Setting up, ending, and moving a connection.

package sv2client

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// setUpAgainst dials a pool whose answers to SetupConnection, and what follows, are given.
func setUpAgainst(t *testing.T, config Config, script func(pool)) (*Client, error) {
	t.Helper()
	listener, url := listen(t)
	scripted := make(chan struct{})
	go func() {
		defer close(scripted)
		stream, err := listener.Accept()
		if err != nil {
			return
		}
		p := pool{newResponder(t).accept(t, stream), t}
		script(p)
		_ = p.Close()
	}()
	client, err := Dial(patient(t), url, config)
	<-scripted
	if client != nil {
		t.Cleanup(func() { _ = client.Close() })
	}
	return client, err
}

func TestTellsThePoolWhoItIs(t *testing.T) {
	config := Config{Flags: RequiresVersionRolling, Vendor: "v", HardwareVersion: "h", Firmware: "f",
		DeviceID: "d"}
	var got SetupConnection
	_, err := setUpAgainst(t, config, func(p pool) {
		got = *hear[*SetupConnection](p)
		p.say(&SetupConnectionSuccess{UsedVersion: 2})
	})
	if err != nil {
		t.Fatal(err)
	}
	port := got.EndpointPort
	want := SetupConnection{0, 2, 2, RequiresVersionRolling, "127.0.0.1", port, "v", "h", "f", "d"}
	if got != want || port == 0 {
		t.Errorf("%+v", got)
	}
}

func TestTellsWhyThePoolRefuses(t *testing.T) {
	_, err := setUpAgainst(t, Config{Flags: RequiresWorkSelection}, func(p pool) {
		hear[*SetupConnection](p)
		p.say(&Unknown{0x4000, 1, nil}, // is ignored
			&SetupConnectionError{RequiresWorkSelection | 1<<31, "unsupported-feature-flags"})
	})
	var refused *SetupError
	if !errors.As(err, &refused) || refused.Flags != RequiresWorkSelection|1<<31 ||
		refused.Code != "unsupported-feature-flags" {
		t.Errorf("%v", err)
	}
}

func TestEndsASetUpAgainstTheProtocol(t *testing.T) {
	for name, answer := range map[string]Message{
		"version":       &SetupConnectionSuccess{UsedVersion: 3},
		"fixed version": &SetupConnectionSuccess{2, RequiresFixedVersion},
		"another":       &SetTarget{},
		"nothing":       nil,
	} {
		_, err := setUpAgainst(t, Config{Flags: RequiresVersionRolling}, func(p pool) {
			hear[*SetupConnection](p)
			if answer != nil {
				p.say(answer)
			}
		})
		var broken *ProtocolError
		if !errors.As(err, &broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAsksForExtensions(t *testing.T) {
	config := Config{Extensions: []uint16{ExtensionWorkers, 0x4001}}
	var asked []uint16
	client, err := setUpAgainst(t, config, func(p pool) {
		hear[*SetupConnection](p)
		p.say(&SetupConnectionSuccess{UsedVersion: 2})
		asked = hear[*RequestExtensions](p).Requested
		p.say(&RequestExtensionsSuccess{1, []uint16{ExtensionWorkers}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(asked, config.Extensions) ||
		!slices.Equal(client.Extensions(), []uint16{ExtensionWorkers}) {
		t.Errorf("asked for %x, in force %x", asked, client.Extensions())
	}
}

func TestTellsWhichExtensionsAreRefused(t *testing.T) {
	for _, c := range []struct {
		answer Message
		want   error
	}{
		{&RequestExtensionsError{1, []uint16{2}, []uint16{3}}, &ExtensionsError{}},
		{&RequestExtensionsSuccess{1, []uint16{4}}, &ProtocolError{}},
	} {
		_, err := setUpAgainst(t, Config{Extensions: []uint16{2}}, func(p pool) {
			hear[*SetupConnection](p)
			p.say(&SetupConnectionSuccess{UsedVersion: 2})
			hear[*RequestExtensions](p)
			p.say(c.answer)
		})
		var refused *ExtensionsError
		var broken *ProtocolError
		switch c.want.(type) {
		case *ExtensionsError:
			if !errors.As(err, &refused) || !slices.Equal(refused.Required, []uint16{3}) {
				t.Errorf("%v", err)
			}
		default:
			if !errors.As(err, &broken) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	_, url := listen(t) // accepts by the backlog only, and never answers
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, url, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCallsEndWithTheConnection(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openStandard(t, client, p, 1)
	ctx := patient(t)
	ended := make(chan error, 2)
	go func() { _, err := channel.WaitWork(ctx, 0); ended <- err }()
	go func() { _, err := client.OpenStandard(ctx, OpenRequest{}); ended <- err }()
	hear[*OpenStandardMiningChannel](p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
	}
	<-client.Done()
	if err := client.Err(); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	if _, err := channel.Submit(ctx, Share{}); !errors.Is(err, io.EOF) {
		t.Errorf("submit: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openStandard(t, client, p, 1)
	if err := client.Err(); err != nil {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := channel.WaitWork(patient(t), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := p.ReadMessage(patient(t)); err != io.EOF {
		t.Errorf("the pool sees %v", err)
	}
}

func TestAForgedFrameEndsTheConnection(t *testing.T) {
	client, p := connected(t, Config{})
	if _, err := p.stream.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	<-client.Done()
	if err := client.Err(); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("%v", err)
	}
}

// TestFollowsAReconnect: answers that are under way still count, and the pool at the new place has to be
// of the same authority.
func TestFollowsAReconnect(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openStandard(t, client, p, 1)
	p.say(futureJob(1, 1), newTip(1, 1))
	ctx := patient(t)
	work, err := channel.WaitWork(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := channel.Submit(ctx, Share{JobID: work.JobID}); err != nil {
		t.Fatal(err)
	}
	hear[*SubmitSharesStandard](p)
	second, url := listen(t)
	p.say(&Reconnect{"", url.Port})
	_, err = channel.WaitWork(ctx, work.Revision)
	var moved *ReconnectError
	if !errors.As(err, &moved) || client.Moved() == nil {
		t.Fatalf("%v", err)
	}
	p.say(&SubmitSharesSuccess{1, 1, 1, 0})
	if err := channel.WaitAnswers(ctx); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	<-client.Done()
	if !errors.As(client.Err(), &moved) {
		t.Errorf("%v", client.Err())
	}

	old := URL{Host: "127.0.0.1", Port: 1, Authority: url.Authority}
	for secret, want := range map[byte]error{0x44: nil, 0x45: ErrWrongAuthority} {
		server := newResponder(t)
		server.authority = secretOf(secret)
		go func() {
			stream, err := second.Accept()
			if err != nil {
				return
			}
			p := pool{server.accept(t, stream), t}
			if want == nil {
				hear[*SetupConnection](p)
				p.say(&SetupConnectionSuccess{UsedVersion: 2})
			}
			_, _ = p.ReadMessage(ctx) // ends when the client closes
			_ = p.Close()
		}()
		next, err := Dial(ctx, old.Follow(moved.To), Config{})
		if !errors.Is(err, want) {
			t.Errorf("authority %02x: %v, want %v", secret, err, want)
		}
		if next != nil {
			if err := next.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestAWriteThatIsCutOffBreaksTheConnection(t *testing.T) {
	near, far := net.Pipe()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		newResponder(t).accept(t, far) // and reads no more
	}()
	conn, err := Handshake(patient(t), near, authorityKey(secretOf(0x44)), HandshakeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	<-accepted
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := conn.WriteMessage(ended, &Reconnect{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if conn.broken.Load() {
		t.Error("a write that never began broke the connection")
	}
	half, stop := context.WithCancel(t.Context())
	go func() {
		byte1 := make([]byte, 1)
		_, _ = far.Read(byte1) // the write has begun
		stop()
	}()
	if err := conn.WriteMessage(half, &Reconnect{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := conn.WriteMessage(t.Context(), &Reconnect{}); !errors.Is(err, ErrBroken) {
		t.Errorf("%v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestErrorsOfThePoolAreQuoted(t *testing.T) {
	for _, err := range []error{&SetupError{Code: "a\nb"}, &OpenError{"a\nb"}, &UpdateError{"a\nb"},
		&ChannelClosedError{"a\nb"}, &ReconnectError{Reconnect{NewHost: "a\nb"}}} {
		if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, `a\nb`) {
			t.Errorf("%q", text)
		}
	}
}
