// What becomes of miners when the link breaks, and when the pool starts again.

package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// comeBack dials again for the same session, with the channels there were and these cancelled submits.
func (s *sidecar) comeBack(socket string, cancelled ...uint64) *sidecar {
	s.t.Helper()
	s.hello.LastEpoch = s.welcome.GetEpoch()
	s.hello.CancelledSubmitIds = cancelled
	s.hello.OpenChannelIds = nil
	for id := range s.channels {
		s.hello.OpenChannelIds = append(s.hello.OpenChannelIds, id)
	}
	again := dialAs(s.t, socket, s.hello)
	again.lastID, again.lastSubmit = s.lastID, s.lastSubmit
	for id, c := range s.channels {
		moved := *c
		moved.sidecar, moved.job = again, nil
		again.channels[id] = &moved
	}
	return again
}

func TestAMinerDoesNotNoticeThatTheLinkBroke(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	first, hash := c.share()
	told := s.judge(first)[0]
	s.hangUp()
	s = s.comeBack(r.settings.socket)
	if !s.welcome.GetResumed() {
		t.Fatalf("welcome %v", s.welcome)
	}
	c = s.channels[c.id]
	s.until("the job", func() bool { return c.job != nil })
	s.lastSubmit-- // the first again: the same verdict
	if again := s.judge(first)[0]; again.GetAccepted() != told.GetAccepted() ||
		!bytes.Equal(again.GetShareHash(), hash[:]) {
		t.Errorf("verdict %v was %v", again, told)
	}
	next, _ := c.share()
	if got := s.judge(next)[0]; !got.GetAccepted() {
		t.Errorf("a share for the job that came again: %v", got)
	}
	if lines := r.book("verdict"); len(lines) != 2 {
		t.Errorf("journal %+v", lines)
	}
}

func TestAShareThatTheMinerWasNotToldOfIsTakenBackInTheBooks(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	var shares []*sv2pb.Submit
	for range 3 {
		submit, _ := c.share()
		shares = append(shares, submit)
	}
	s.submit(shares...)
	eventually(t, "they are in the books", func() bool { return len(r.book("verdict")) == 3 })
	s.hangUp()
	s.comeBack(r.settings.socket, 2)
	eventually(t, "one is withdrawn", func() bool { return len(r.book("withdrawn")) == 1 })
	verdict, withdrawn := r.book("verdict")[1], r.book("withdrawn")[0]
	if withdrawn.SubmitID != 2 || verdict.SubmitID != 2 || withdrawn.Hash != verdict.Hash ||
		withdrawn.Credit != verdict.Credit || withdrawn.Channel != verdict.Channel ||
		withdrawn.User != verdict.User || withdrawn.Conn != verdict.Conn {
		t.Errorf("withdrawn %+v, was %+v", withdrawn, verdict)
	}
}

func TestAfterARestartMinersGetWhatTheyHadAndNobodyElseDoes(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"counted beside the chain":   {"-datadir", filepath.Join(dir, "chain")},
		"counted beside the journal": {},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var old [][]byte
			var target []byte
			for life := range 3 {
				p := launch(t, dir, args...)
				s := dial(t, p.socket)
				for range 20 {
					c := s.open(extended, payoutAddress(t))
					if slices.ContainsFunc(old, func(o []byte) bool { return bytes.Equal(o, c.prefix) }) {
						t.Errorf("life %d: %x is somebody's", life, c.prefix)
					}
					target = c.target[:]
					old = append(old, c.prefix)
				}
				if life < 2 {
					_ = p.Process.Kill()
					p.exitCode()
					continue
				}
				for _, wanted := range old[:40] { // of two lives before
					s.lastID++
					c := &miner{sidecar: s, id: s.lastID}
					s.channels[c.id] = c
					s.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_OpenChannel{
						OpenChannel: &sv2pb.OpenChannel{ChannelId: c.id, Kind: extended,
							UserIdentity: []byte(payoutAddress(t)),
							Connection:   &sv2pb.Connection{Id: 5, RemoteAddress: "127.0.0.1:1"},
							MaxTarget:    bytes.Repeat([]byte{255}, 32), Reopen: true,
							WantedExtranoncePrefix: wanted, LastTarget: target}}})
					s.until("an answer", func() bool { return c.job != nil || c.refused != nil })
					if !bytes.Equal(c.prefix, wanted) || !bytes.Equal(c.target[:], target) {
						t.Errorf("wanted %x, got %x", wanted, c.prefix)
					}
				}
			}
		})
	}
}
