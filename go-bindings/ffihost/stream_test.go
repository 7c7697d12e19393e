package ffihost

import (
	"bytes"
	"io"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func submitEvent(id uint64, extranonce, worker string) event {
	e := event{kind: eventSubmit, stream: 1, id: id, channel: 2 * id, job: 3 * id, nonce: 4, ntime: 5, version: 6,
		detail: uint32(sv2.RejectStale), extranonceSize: uint8(len(extranonce)), workerSize: uint8(len(worker))}
	copy(e.extranonce[:], extranonce)
	copy(e.worker[:], worker)
	return e
}

func TestSubmitsOfEventsKeepEveryField(t *testing.T) {
	s := newStream(0, 1)
	events := []event{submitEvent(1, "12345678", "rig"), submitEvent(2, "", ""), submitEvent(3, "abcd", "")}
	got := s.batch(events).Submits
	for i, e := range events {
		want := session.Submit{ChannelID: e.channel, Submit: sv2.Submit{ID: e.id, JobID: e.job, Nonce: 4, NTime: 5,
			Version: 6, WouldRefuse: sv2.RejectStale}}
		g := got[i]
		extranonce, worker := string(e.extranonce[:e.extranonceSize]), string(e.worker[:e.workerSize])
		if string(g.Extranonce) != extranonce || string(g.Worker) != worker {
			t.Errorf("extranonce %q and worker %q, want %q and %q", g.Extranonce, g.Worker, extranonce, worker)
		}
		g.Extranonce, g.Worker = nil, nil
		if g.ID != want.ID || g.ChannelID != want.ChannelID || g.JobID != want.JobID || g.Nonce != want.Nonce ||
			g.NTime != want.NTime || g.Version != want.Version || g.WouldRefuse != want.WouldRefuse {
			t.Errorf("%+v, want %+v", g, want)
		}
	}
	// What a host appends to one must not be in another, nor what comes later in any.
	_ = append(got[0].Extranonce, "overwritten"...)
	s.batch([]event{submitEvent(4, "overwritten", "overwritten")})
	if !bytes.Equal(got[0].Worker, []byte("rig")) || !bytes.Equal(got[2].Extranonce, []byte("abcd")) {
		t.Error("submits share their bytes")
	}
}

func TestAStreamGivesWhatCameBeforeItEnded(t *testing.T) {
	s := newStream(0, 1)
	for id := range uint64(3) {
		if !s.put(s.batch([]event{submitEvent(1+id, "", "")})) {
			t.Fatal("it was not taken")
		}
	}
	s.end()
	for id := range uint64(3) {
		request, err := s.Recv()
		if err != nil || len(request.Submits) != 1 || request.Submits[0].ID != 1+id {
			t.Fatalf("%+v, %v", request, err)
		}
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("%v, want io.EOF", err)
	}
	// A full queue must not hold up who polls, once the stream is over.
	for range 2 * queued {
		s.put(session.Request{})
	}
}
