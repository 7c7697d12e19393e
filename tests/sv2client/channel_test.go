// Channels: jobs, targets, answers.

package sv2client

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// openChannel opens a channel that the pool grants as given.
func openChannel(
	t testing.TB, p pool, open func(context.Context) (*Channel, error), grant func(request uint32) Message,
) *Channel {
	t.Helper()
	type result struct {
		channel *Channel
		err     error
	}
	opened := make(chan result, 1)
	ctx := patient(t)
	go func() {
		channel, err := open(ctx)
		opened <- result{channel, err}
	}()
	m, err := p.ReadMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	switch m := m.(type) {
	case *OpenStandardMiningChannel:
		p.say(grant(m.RequestID))
	case *OpenExtendedMiningChannel:
		p.say(grant(m.RequestID))
	default:
		t.Fatalf("the client sent %s", Name(m))
	}
	got := <-opened
	if got.err != nil {
		t.Fatal(got.err)
	}
	return got.channel
}

// groupOf is the group that the channels of these tests are in.
const groupOf = 100

func openStandard(t testing.TB, client *Client, p pool, id uint32) *Channel {
	t.Helper()
	return openChannel(t, p, func(ctx context.Context) (*Channel, error) {
		return client.OpenStandard(ctx, OpenRequest{User: "u"})
	}, func(request uint32) Message {
		return &OpenStandardMiningChannelSuccess{request, id, Target{31: 9}, []byte{1, 2, 3, 4, 5, 6},
			groupOf}
	})
}

func openExtended(t testing.TB, client *Client, p pool, id uint32) *Channel {
	t.Helper()
	return openChannel(t, p, func(ctx context.Context) (*Channel, error) {
		return client.OpenExtended(ctx, OpenRequest{User: "u"}, 2)
	}, func(request uint32) Message {
		return &OpenExtendedMiningChannelSuccess{request, id, Target{31: 9}, 4, []byte{7, 8}, groupOf}
	})
}

func futureJob(channel, id uint32) *NewMiningJob {
	return &NewMiningJob{channel, id, nil, 0x20000000, Hash{byte(id)}}
}

func extendedJob(channel, id uint32) *NewExtendedMiningJob {
	return &NewExtendedMiningJob{channel, id, nil, 0x20000000, true, []Hash{{1}}, []byte{2}, []byte{3}}
}

func newTip(channel, job uint32) *SetNewPrevHash {
	return &SetNewPrevHash{channel, job, Hash{byte(job)}, 1000 + job, 0x207fffff}
}

// next waits for the work after a revision.
func next(t testing.TB, channel *Channel, after uint64) Work {
	t.Helper()
	work, err := channel.WaitWork(patient(t), after)
	if err != nil {
		t.Fatal(err)
	}
	return work
}

func TestMinesAFutureJobWhenItsTipComes(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openStandard(t, client, p, 1)
	p.say(futureJob(1, 5), futureJob(1, 6), newTip(1, 6))
	work := next(t, channel, 0)
	root, err := work.MerkleRoot(nil)
	if err != nil || work.JobID != 6 || work.PrevHash != (Hash{6}) || work.MinNTime != 1006 ||
		work.NBits != 0x207fffff || root != (Hash{6}) || work.Target != (Target{31: 9}) {
		t.Errorf("%+v, root %v, %v", work, root, err)
	}
	ntime := uint32(2000)
	p.say(&NewMiningJob{1, 7, &ntime, 0x20000004, Hash{7}})
	newer := next(t, channel, work.Revision)
	if newer.JobID != 7 || newer.PrevHash != (Hash{6}) || newer.MinNTime != 2000 ||
		newer.Version != 0x20000004 || !channel.Outdated(work) || channel.Outdated(newer) {
		t.Errorf("%+v", newer)
	}
}

func TestJobsKeepThePrefixOfTheirTime(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openExtended(t, client, p, 1)
	p.say(extendedJob(1, 1), &SetExtranoncePrefix{1, []byte{9}}, newTip(1, 1))
	work := next(t, channel, 0)
	extranonce := []byte{1, 2, 3, 4}
	if got, err := work.MerkleRoot(extranonce); err != nil ||
		got != merkleRoot(extendedJob(1, 1), []byte{7, 8}, extranonce) {
		t.Errorf("%v, %v", got, err)
	}
	ntime := uint32(1)
	later := extendedJob(1, 2)
	later.MinNTime = &ntime
	p.say(later)
	work = next(t, channel, work.Revision)
	if got, err := work.MerkleRoot(extranonce); err != nil ||
		got != merkleRoot(later, []byte{9}, extranonce) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestTargetsHoldForTheJobsTheyShould is chapter 5.3.21 on the safe side.
func TestTargetsHoldForTheJobsTheyShould(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openStandard(t, client, p, 1)
	// A target between a future job and its tip holds for the job.
	p.say(futureJob(1, 1), &SetTarget{1, Target{31: 5}}, newTip(1, 1))
	work := next(t, channel, 0)
	if work.Target != (Target{31: 5}) {
		t.Errorf("%v", work.Target)
	}
	// A harder one holds for a job that came as future job; the search goes on.
	p.say(&SetTarget{1, Target{31: 4}})
	harder := next(t, channel, work.Revision)
	if harder.Target != (Target{31: 4}) || !harder.SameJob(work) {
		t.Errorf("%v", harder.Target)
	}
	// An easier one might not be the pool's opinion of this job.
	p.say(&SetTarget{1, Target{31: 8}})
	easier := next(t, channel, harder.Revision)
	if easier.Target != (Target{31: 4}) || channel.Target() != (Target{31: 8}) {
		t.Errorf("%v", easier.Target)
	}
	// A job with min_ntime keeps the target of its arrival.
	ntime := uint32(1)
	p.say(&NewMiningJob{1, 2, &ntime, 0, Hash{}})
	active := next(t, channel, easier.Revision)
	p.say(&SetTarget{1, Target{31: 1}}, &NewMiningJob{1, 3, &ntime, 0, Hash{}})
	last := next(t, channel, active.Revision)
	if active.Target != (Target{31: 8}) || last.JobID != 3 || last.Target != (Target{31: 1}) {
		t.Errorf("%v, then %v", active.Target, last.Target)
	}
}

func TestAGroupIsAllItsChannels(t *testing.T) {
	client, p := connected(t, Config{})
	standard, extended := openStandard(t, client, p, 1), openExtended(t, client, p, 2)
	job := extendedJob(groupOf, 9)
	p.say(job, &SetTarget{groupOf, Target{31: 2}}, newTip(groupOf, 9))
	work := next(t, standard, 0)
	root, err := work.MerkleRoot(nil)
	if err != nil || root != merkleRoot(job, []byte{1, 2, 3, 4, 5, 6}, nil) || work.JobID != 9 ||
		work.Target != (Target{31: 2}) {
		t.Errorf("standard: %+v, %v", work, err)
	}
	work = next(t, extended, 0)
	root, err = work.MerkleRoot([]byte{1, 2, 3, 4})
	if err != nil || root != merkleRoot(job, []byte{7, 8}, []byte{1, 2, 3, 4}) || work.JobID != 9 {
		t.Errorf("extended: %+v, %v", work, err)
	}
	// One of them moves on, and is alone.
	p.say(&SetGroupChannel{101, []uint32{2}}, extendedJob(101, 10), newTip(101, 10),
		&CloseChannel{groupOf, "bye"})
	if work = next(t, extended, work.Revision); work.JobID != 10 {
		t.Errorf("%+v", work)
	}
	_, err = standard.WaitWork(patient(t), 1)
	var closed *ChannelClosedError
	if !errors.As(err, &closed) || closed.Reason != "bye" {
		t.Errorf("%v", err)
	}
	if client.Err() != nil {
		t.Error(client.Err())
	}
}

func TestCountsAnswers(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openExtended(t, client, p, 1)
	ctx := patient(t)
	for want := uint32(1); want <= 4; want++ {
		share := Share{JobID: 2, Nonce: 3, NTime: 4, Version: 5, Extranonce: []byte{6, 7, 8, 9}}
		sequence, err := channel.Submit(ctx, share)
		if err != nil || sequence != want {
			t.Fatalf("%d, %v", sequence, err)
		}
		got := hear[*SubmitSharesExtended](p)
		if got.SubmitSharesStandard != (SubmitSharesStandard{1, want, 2, 3, 4, 5}) ||
			string(got.Extranonce) != "\x06\x07\x08\x09" || got.TLVs != nil {
			t.Errorf("%+v", got)
		}
	}
	if got := channel.Tally(); got.Submitted != 4 || got.Outstanding() != 4 {
		t.Errorf("%+v", got)
	}
	p.say(&SubmitSharesError{1, 2, "stale-share"}, &SubmitSharesSuccess{1, 4, 3, 7})
	if err := channel.WaitAnswers(ctx); err != nil {
		t.Fatal(err)
	}
	got := channel.Tally()
	if got.Accepted != 3 || got.Difficulty != 7 || got.Rejected["stale-share"] != 1 ||
		got.Outstanding() != 0 || got.RejectedSum() != 1 {
		t.Errorf("%+v", got)
	}
}

func TestBoundsTheCodesItCounts(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openStandard(t, client, p, 1)
	for range 40 {
		if _, err := channel.Submit(patient(t), Share{}); err != nil {
			t.Fatal(err)
		}
		m := hear[*SubmitSharesStandard](p)
		p.say(&SubmitSharesError{1, m.SequenceNumber, fmt.Sprint(m.SequenceNumber)})
	}
	if err := channel.WaitAnswers(patient(t)); err != nil {
		t.Fatal(err)
	}
	got := channel.Tally()
	if len(got.Rejected) != maxCodes+1 || got.Rejected[otherCodes] != 40-maxCodes {
		t.Errorf("%d codes: %+v", len(got.Rejected), got)
	}
}

func TestNamesWorkersOnlyWhereThatIsInForce(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openExtended(t, client, p, 1)
	if _, err := channel.Submit(patient(t), Share{Worker: "w"}); err == nil {
		t.Error("sent")
	}
	client.extensions = []uint16{ExtensionWorkers}
	if _, err := channel.Submit(patient(t), Share{Worker: string(make([]byte, 33))}); err == nil {
		t.Error("sent")
	}
	if _, err := channel.Submit(patient(t), Share{Worker: "w"}); err != nil {
		t.Fatal(err)
	}
	got := hear[*SubmitSharesExtended](p).TLVs
	if len(got) != 1 || got[0].Extension != 2 || got[0].Field != 1 || string(got[0].Value) != "w" {
		t.Errorf("%+v", got)
	}
}

func TestUpdatesAndTheirRefusals(t *testing.T) {
	client, p := connected(t, Config{})
	channel := openStandard(t, client, p, 1)
	if err := channel.Update(patient(t), 5, Target{1}); err != nil {
		t.Fatal(err)
	}
	if got := *hear[*UpdateChannel](p); got != (UpdateChannel{1, 5, Target{1}}) {
		t.Errorf("%+v", got)
	}
	if channel.UpdateRefused() != nil {
		t.Error("refused before the answer")
	}
	p.say(&UpdateChannelError{1, "no"}, futureJob(1, 1), newTip(1, 1))
	next(t, channel, 0)
	if refused := channel.UpdateRefused(); refused == nil || refused.Code != "no" {
		t.Errorf("%v", refused)
	}
}

func TestAClosedChannelHearsNothingMore(t *testing.T) {
	client, p := connected(t, Config{})
	channel, other := openStandard(t, client, p, 1), openStandard(t, client, p, 2)
	ctx := patient(t)
	if _, err := channel.Submit(ctx, Share{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := channel.Close(ctx, "done"); err != nil {
			t.Fatal(err)
		}
	}
	hear[*SubmitSharesStandard](p)
	if got := *hear[*CloseChannel](p); got != (CloseChannel{1, "done"}) {
		t.Errorf("%+v", got)
	}
	// What was under way.
	p.say(&SubmitSharesSuccess{1, 1, 1, 0}, futureJob(1, 1), futureJob(2, 1), newTip(2, 1))
	next(t, other, 0)
	if _, err := channel.Submit(ctx, Share{}); !errors.Is(err, ErrClosed) {
		t.Errorf("submit: %v", err)
	}
	if err := channel.Update(ctx, 1, Target{}); !errors.Is(err, ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if err := channel.WaitAnswers(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("answers: %v", err)
	}
}

func TestAnOpenThatNobodyWaitsForIsClosed(t *testing.T) {
	client, p := connected(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := client.OpenExtended(ctx, OpenRequest{User: "u"}, 4); ended <- err }()
	request := hear[*OpenExtendedMiningChannel](p)
	if request.UserIdentity != "u" || request.MinExtranonceSize != 4 || request.MaxTarget != MaxTarget() {
		t.Errorf("%+v", request)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	p.say(&OpenExtendedMiningChannelSuccess{request.RequestID, 3, Target{}, 4, nil, groupOf})
	if got := hear[*CloseChannel](p); got.ChannelID != 3 {
		t.Errorf("%+v", got)
	}
}
