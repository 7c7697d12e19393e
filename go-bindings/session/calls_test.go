// Requests of the pool to the sidecar.

package session

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// answer replies to the next request of the pool.
func (c *client) answer(reply func(*sv2pb.SessionResponse) *sv2pb.SessionRequest) {
	for {
		m, err := c.stream.Recv()
		if err != nil {
			return // the test is over
		}
		if err := c.stream.Send(reply(m)); err != nil {
			return
		}
	}
}

func callID(m *sv2pb.SessionResponse) uint64 {
	return max(m.GetSetPayout().GetCallId(), m.GetGetAccount().GetCallId(),
		m.GetRecordShares().GetCallId(), m.GetPing().GetId())
}

func failWith(code codes.Code, detail string) func(*sv2pb.SessionResponse) *sv2pb.SessionRequest {
	return func(m *sv2pb.SessionResponse) *sv2pb.SessionRequest {
		return &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_CallFailed{
			CallFailed: &sv2pb.CallFailed{CallId: callID(m), Code: uint32(code), Detail: detail}}}
	}
}

// bridge answers as a sidecar with a mint does.
func bridge(m *sv2pb.SessionResponse) *sv2pb.SessionRequest {
	switch request := m.GetMessage().(type) {
	case *sv2pb.SessionResponse_SetPayout:
		result := &sv2pb.SetPayoutResult{CallId: request.SetPayout.GetCallId()}
		if request.SetPayout.GetClaimUnassigned() {
			result.ReleasedShares = uint64(len(request.SetPayout.GetUserIdentity()))
		}
		return &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SetPayoutResult{
			SetPayoutResult: result}}
	case *sv2pb.SessionResponse_GetAccount:
		return &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Account{Account: &sv2pb.Account{
			CallId:  request.GetAccount.GetCallId(),
			Accrued: &sv2pb.Difficulty{Whole: 3, Fraction: 4}, Shares: 5, PendingAmount: 6,
			ConfirmedAmount: 7, IssuedAmount: 8, Unit: "hash", QuoteRequests: []string{"q"}, QuoteIds: []string{"i"},
			Frozen: true}}}
	case *sv2pb.SessionResponse_RecordShares:
		result := &sv2pb.RecordSharesResult{CallId: request.RecordShares.GetCallId()}
		for _, share := range request.RecordShares.GetShares() {
			result.Recorded = append(result.Recorded, share.GetHeight() == 1)
		}
		return &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_RecordSharesResult{
			RecordSharesResult: result}}
	case *sv2pb.SessionResponse_Ping:
		return &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Pong{
			Pong: &sv2pb.Pong{Id: request.Ping.GetId(), SentUs: request.Ping.GetSentUs()}}}
	default:
		return &sv2pb.SessionRequest{}
	}
}

func TestMintCallsReachTheBridge(t *testing.T) {
	ctx := t.Context()
	server := start(t, Options{}, nil)
	if _, err := server.GetAccount(ctx, nil, nil); status.Code(err) != codes.Unavailable {
		t.Errorf("without a sidecar: %v", err)
	}
	without, _ := server.welcomed(t, goodHello(1))
	go without.answer(failWith(codes.Unimplemented, "no mint"))
	if _, err := server.SetPayout(ctx, nil, nil, false); status.Code(err) != codes.Unimplemented {
		t.Errorf("without a bridge: %v", err)
	}
	with, _ := server.welcomed(t, goodHello(2))
	go with.answer(bridge)
	identity, key := []byte("abc"), make([]byte, 33)
	if released, err := server.SetPayout(ctx, identity, key, true); err != nil || released != 3 {
		t.Errorf("SetPayout: %d, %v", released, err)
	}
	account, err := server.GetAccount(ctx, identity, key)
	if err != nil || account.Accrued != (sv2.Difficulty{Whole: 3, Fraction: 4}) ||
		account.Shares != 5 || account.Pending != 6 || account.Confirmed != 7 ||
		account.Issued != 8 || account.Unit != "hash" || !account.Frozen ||
		!slices.Equal(account.QuoteRequests, []string{"q"}) || !slices.Equal(account.QuoteIDs, []string{"i"}) {
		t.Errorf("GetAccount: %+v, %v", account, err)
	}
	shares := []RecordedShare{{Height: 1, AcceptedAt: time.UnixMilli(5)}, {Height: 2, PayoutKey: key}}
	recorded, err := server.RecordShares(ctx, shares)
	if err != nil || !slices.Equal(recorded, []bool{true, false}) {
		t.Errorf("RecordShares: %v, %v", recorded, err)
	}
	sessions := server.Sessions()
	if len(sessions) != 2 || sessions[1].SidecarID() != "sidecar-1" || sessions[1].Software() != "test 1" {
		t.Fatalf("sessions %v", sessions)
	}
	if _, err := sessions[1].Ping(ctx); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if _, err := sessions[0].Ping(ctx); status.Code(err) != codes.Unimplemented {
		t.Errorf("Ping of the other: %v", err)
	}
}

func TestRejectsMintCallsThatCannotBe(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	go c.answer(bridge)
	session := server.Sessions()[0]
	ctx := t.Context()
	faults := map[string]error{}
	_, faults["long identity"] = session.SetPayout(ctx, make([]byte, 256), nil, false)
	_, faults["short key"] = session.GetAccount(ctx, nil, make([]byte, 32))
	_, faults["no shares"] = session.RecordShares(ctx, nil)
	_, faults["many shares"] = session.RecordShares(ctx, make([]RecordedShare, 257))
	_, faults["bad share"] = session.RecordShares(ctx, []RecordedShare{{PayoutKey: []byte{1}}})
	for name, err := range faults {
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRejectsAnswersThatMakeNoSense(t *testing.T) {
	for name, test := range map[string]struct {
		reply func(*sv2pb.SessionResponse) *sv2pb.SessionRequest
		want  codes.Code
	}{
		"other kind": {func(m *sv2pb.SessionResponse) *sv2pb.SessionRequest {
			return &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Account{
				Account: &sv2pb.Account{CallId: callID(m)}}}
		}, codes.Internal},
		"fewer shares": {func(m *sv2pb.SessionResponse) *sv2pb.SessionRequest {
			return &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_RecordSharesResult{
				RecordSharesResult: &sv2pb.RecordSharesResult{CallId: callID(m)}}}
		}, codes.Internal},
		"failed with OK":       {failWith(codes.OK, ""), codes.Unknown},
		"failed with nonsense": {failWith(999, ""), codes.Unknown},
		"failed":               {failWith(codes.NotFound, "x"), codes.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, Options{}, nil)
			c, _ := server.welcomed(t, goodHello(1))
			go c.answer(test.reply)
			_, err := server.RecordShares(t.Context(), make([]RecordedShare, 1))
			if status.Code(err) != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestMintCallsEndWithTheirContextAndWithTheSession(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	session := server.Sessions()[0]
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := session.GetAccount(ctx, nil, nil); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled before: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	failed := make(chan error)
	call := func(ctx context.Context) {
		_, err := session.GetAccount(ctx, nil, nil)
		failed <- err
	}
	go call(ctx)
	late := c.next()
	cancel()
	if err := <-failed; status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	c.send(bridge(late)) // ignored
	c.ping(1)
	go call(context.Background())
	c.next()
	c.cancel()
	if err := <-failed; status.Code(err) != codes.Unavailable {
		t.Errorf("session ended: %v", err)
	}
	go call(context.Background())
	if err := <-failed; status.Code(err) != codes.Unavailable {
		t.Errorf("after the session: %v", err)
	}
}

func TestRejectsMoreMintCallsThanTheLimit(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	session := server.Sessions()[0]
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error)
	for range maxCalls {
		go func() {
			_, err := session.Ping(ctx)
			failed <- err
		}()
	}
	for range maxCalls {
		c.next()
	}
	if _, err := session.Ping(ctx); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	for range maxCalls {
		if err := <-failed; status.Code(err) != codes.Canceled {
			t.Errorf("got %v", err)
		}
	}
	if _, err := session.Ping(ctx); errors.Is(err, errGone) {
		t.Error("the session is gone")
	}
}

func TestASidecarThatLeavesGetsNoMintCalls(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Drain{Drain: &sv2pb.Drain{}}})
	c.submit(share(1, 1, 1)) // what is in flight is still served
	if c.next().GetVerdictBatch() == nil {
		t.Error("no verdict")
	}
	if _, err := server.GetAccount(t.Context(), nil, nil); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}
