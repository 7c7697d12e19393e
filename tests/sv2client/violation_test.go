// What a pool must not do.

package sv2client

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestEndsTheConnectionOfAPoolThatBreaksTheProtocol(t *testing.T) {
	ntime := uint32(1)
	forbidding := extendedJob(2, 1)
	forbidding.VersionRollingAllowed = false
	// Channel 1 is standard, channel 2 extended, 3 closed.
	for name, c := range map[string]struct {
		word string
		say  []Message
	}{
		"an unknown channel":        {"channel 7", []Message{futureJob(7, 1)}},
		"a standard job elsewhere":  {"extended channel 2", []Message{futureJob(2, 1)}},
		"an extended job elsewhere": {"standard channel 1", []Message{extendedJob(1, 1)}},
		"a tip without its job":     {"no future job", []Message{newTip(1, 1)}},
		"a tip for a void job": {"no future job",
			[]Message{futureJob(1, 1), futureJob(1, 2), newTip(1, 2), newTip(1, 1)}},
		"a tip of the group without a job": {"no future job",
			[]Message{futureJob(1, 1), newTip(groupOf, 1)}},
		"a job before any tip": {"before any", []Message{&NewMiningJob{1, 1, &ntime, 0, Hash{}}}},
		"a job id twice":       {"job id 1", []Message{futureJob(1, 1), futureJob(1, 1)}},
		"the active job's id": {"job id 1",
			[]Message{futureJob(1, 1), newTip(1, 1), futureJob(1, 1)}},
		"no version rolling":   {"forbids version rolling", []Message{forbidding}},
		"a long prefix":        {"extranonce", []Message{&SetExtranoncePrefix{2, make([]byte, 29)}}},
		"a prefix for a group": {"channel 100", []Message{&SetExtranoncePrefix{groupOf, nil}}},
		"a channel as a group": {"not of a group", []Message{&SetGroupChannel{1, []uint32{2}}}},
		"a group of strangers": {"channel 8", []Message{&SetGroupChannel{101, []uint32{8}}}},
		"too many accepted":    {"of 1 that wait", []Message{&SubmitSharesSuccess{1, 1, 2, 0}}},
		"accepted, never sent": {"never sent", []Message{&SubmitSharesSuccess{1, 2, 1, 0}}},
		"rejected, never sent": {"does not wait", []Message{&SubmitSharesError{1, 2, "x"}}},
		"rejected twice": {"does not wait",
			[]Message{&SubmitSharesError{1, 1, "x"}, &SubmitSharesError{1, 1, "x"}}},
		"an answer to nothing":     {"request 99", []Message{&OpenMiningChannelError{99, "x"}}},
		"a second setup":           {"second answer", []Message{&SetupConnectionSuccess{2, 0}}},
		"a malformed message":      {"malformed SetTarget", []Message{&Unknown{0x8000, 0x21, []byte{1}}}},
		"an update for a stranger": {"channel 9", []Message{&UpdateChannelError{9, "x"}}},
	} {
		client, p := connected(t, Config{Flags: RequiresVersionRolling})
		channel := openStandard(t, client, p, 1)
		openExtended(t, client, p, 2)
		if err := openStandard(t, client, p, 3).Close(patient(t), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := channel.Submit(patient(t), Share{}); err != nil {
			t.Fatal(err)
		}
		// What is unknown, or late for a closed channel, is no breach.
		p.say(&Unknown{0x4000, 0, nil}, &Unknown{0, 0x1e, nil}, &SetTarget{3, Target{}}, futureJob(3, 1))
		p.say(c.say...)
		<-client.Done()
		var broken *ProtocolError
		if err := client.Err(); !errors.As(err, &broken) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v, which doesn't say %q", name, err, c.word)
		}
	}
}

func TestEndsTheConnectionOverABadGrant(t *testing.T) {
	easy := Target{31: 2}
	for name, c := range map[string]struct {
		word  string
		grant func(request uint32) Message
	}{
		"an easier target": {"easier", func(id uint32) Message {
			return &OpenExtendedMiningChannelSuccess{id, 2, easy, 4, nil, groupOf}
		}},
		"a small extranonce": {"3 bytes", func(id uint32) Message {
			return &OpenExtendedMiningChannelSuccess{id, 2, Target{}, 3, nil, groupOf}
		}},
		"a long extranonce": {"33 bytes", func(id uint32) Message {
			return &OpenExtendedMiningChannelSuccess{id, 2, Target{}, 4, make([]byte, 29), groupOf}
		}},
		"an id twice": {"second time", func(id uint32) Message {
			return &OpenExtendedMiningChannelSuccess{id, 1, Target{}, 4, nil, groupOf}
		}},
		"a group's id": {"second time", func(id uint32) Message {
			return &OpenExtendedMiningChannelSuccess{id, groupOf, Target{}, 4, nil, groupOf}
		}},
		"a channel as its group": {"not of a group", func(id uint32) Message {
			return &OpenExtendedMiningChannelSuccess{id, 2, Target{}, 4, nil, 1}
		}},
		"the other kind": {"another kind", func(id uint32) Message {
			return &OpenStandardMiningChannelSuccess{id, 2, Target{}, nil, groupOf}
		}},
	} {
		client, p := connected(t, Config{})
		openStandard(t, client, p, 1)
		ended := make(chan error, 1)
		ctx := patient(t)
		go func() {
			_, err := client.OpenExtended(ctx, OpenRequest{MaxTarget: Target{31: 1}}, 4)
			ended <- err
		}()
		p.say(c.grant(hear[*OpenExtendedMiningChannel](p).RequestID))
		var broken *ProtocolError
		if err := <-ended; !errors.As(err, &broken) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v, which doesn't say %q", name, err, c.word)
		}
	}
}

func TestNothingOfGroupsComesOnAConnectionForStandardJobs(t *testing.T) {
	for _, m := range []Message{extendedJob(groupOf, 1), extendedJob(1, 1),
		&SetGroupChannel{101, []uint32{1}}, newTip(groupOf, 1)} {
		client, p := connected(t, Config{Flags: RequiresStandardJobs})
		openStandard(t, client, p, 1)
		p.say(futureJob(1, 1), m)
		<-client.Done()
		var broken *ProtocolError
		if !errors.As(client.Err(), &broken) {
			t.Errorf("%s: %v", Name(m), client.Err())
		}
	}
}

func TestARefusedChannelLeavesTheConnectionOpen(t *testing.T) {
	client, p := connected(t, Config{})
	ctx := patient(t)
	for _, open := range []func() (*Channel, error){
		func() (*Channel, error) { return client.OpenStandard(ctx, OpenRequest{}) },
		func() (*Channel, error) { return client.OpenExtended(ctx, OpenRequest{}, 1) },
	} {
		ended := make(chan error, 1)
		go func() { _, err := open(); ended <- err }()
		m, err := p.ReadMessage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		id := uint32(1)
		if extended, ok := m.(*OpenExtendedMiningChannel); ok {
			id = extended.RequestID
		}
		p.say(&OpenMiningChannelError{id, "unknown-user"})
		var refused *OpenError
		if err := <-ended; !errors.As(err, &refused) || refused.Code != "unknown-user" {
			t.Errorf("%v", err)
		}
	}
	openStandard(t, client, p, 1)
}
