// What a pool asks the mint bridge of a sidecar.

package session

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// Account is the books of one account, an identity with a payout key, at the sidecar's mint bridge.
type Account struct {
	// Accrued is work in the ledger that no credit holds yet.
	Accrued sv2.Difficulty
	// Shares in the ledger, all time.
	Shares uint64
	// Pending, Confirmed and Issued are amounts in Unit: sealed but not confirmed, confirmed by the
	// mint, seen to have been minted by the wallet.
	Pending, Confirmed, Issued uint64
	// Unit is the mint's unit, e.g. "hash".
	Unit string
	// QuoteRequests are the `request` texts of the account's deposit quotes, newest first, at most 16.
	QuoteRequests []string
	// QuoteIDs are the mint's ids of those quotes, in the same order, by which a wallet finds them: for the
	// account's owner, not for logs.
	QuoteIDs []string
	// Frozen: the operator froze the account.
	Frozen bool
}

// RecordedShare is a share the pool accepted at another door, e.g. Stratum V1.
type RecordedShare struct {
	// Hash of the header. Recorded once, whatever is sent.
	Hash sv2.Hash
	// UserIdentity of the account, opaque, at most 255 bytes.
	UserIdentity []byte
	// PayoutKey of the account: 33 bytes, or empty for unassigned.
	PayoutKey []byte
	// Credit as in [sv2.Verdict].
	Credit sv2.Difficulty
	// Height of the block it was for; 0 when unknown.
	Height uint32
	// BlockCandidate: the hash meets nbits.
	BlockCandidate bool
	// AcceptedAt is when the pool accepted it: at most ten minutes ahead of the sidecar's clock. By it a share is
	// refused that may have been recorded, and deleted since.
	AcceptedAt time.Time
}

// SetPayout sets, by the pool's own authority, where the credit of an account goes: payoutKey is 33
// bytes (compressed secp256k1), or empty for none from now on. claimUnassigned gives it the work that
// has no key yet too; released is how many shares that were. It returns when the change is durable.
// The error is a gRPC status: UNIMPLEMENTED when the sidecar has no mint bridge.
func (s *Session) SetPayout(
	ctx context.Context, identity, payoutKey []byte, claimUnassigned bool,
) (released uint64, err error) {
	if err := checkAccount(identity, payoutKey); err != nil {
		return 0, err
	}
	got, err := s.call(ctx, func(id uint64) *sv2pb.SessionResponse {
		return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_SetPayout{
			SetPayout: &sv2pb.SetPayout{CallId: id, UserIdentity: identity, PayoutKey: payoutKey,
				ClaimUnassigned: claimUnassigned}}}
	})
	if err != nil {
		return 0, err
	}
	if got.GetSetPayoutResult() == nil {
		return 0, wrongAnswer(got)
	}
	return got.GetSetPayoutResult().GetReleasedShares(), nil
}

// GetAccount gives the books of an account; an empty payoutKey means its unassigned part. The error is
// a gRPC status: NOT_FOUND when there is none, UNIMPLEMENTED when the sidecar has no mint bridge.
func (s *Session) GetAccount(ctx context.Context, identity, payoutKey []byte) (Account, error) {
	if err := checkAccount(identity, payoutKey); err != nil {
		return Account{}, err
	}
	got, err := s.call(ctx, func(id uint64) *sv2pb.SessionResponse {
		return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_GetAccount{
			GetAccount: &sv2pb.GetAccount{CallId: id, UserIdentity: identity, PayoutKey: payoutKey}}}
	})
	if err != nil {
		return Account{}, err
	}
	if got.GetAccount() == nil {
		return Account{}, wrongAnswer(got)
	}
	return accountFrom(got.GetAccount()), nil
}

// RecordShares enters 1 to 256 shares into the sidecar's ledger. recorded has one value per share: true
// when it is new, false when it was there before. It returns when all are durable; on an error, a gRPC
// status, none is known to be recorded, and sending them again is safe: INVALID_ARGUMENT when one is so old
// that it may have been recorded and deleted since ([mint].keep_shares_h), or has no time.
func (s *Session) RecordShares(
	ctx context.Context, shares []RecordedShare,
) (recorded []bool, err error) {
	converted, err := recordedShareMessages(shares)
	if err != nil {
		return nil, err
	}
	got, err := s.call(ctx, func(id uint64) *sv2pb.SessionResponse {
		return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_RecordShares{
			RecordShares: &sv2pb.RecordShares{CallId: id, Shares: converted}}}
	})
	if err != nil {
		return nil, err
	}
	if got.GetRecordSharesResult() == nil {
		return nil, wrongAnswer(got)
	}
	recorded = got.GetRecordSharesResult().GetRecorded()
	if len(recorded) != len(shares) {
		return nil, status.Errorf(codes.Internal, "the sidecar answered %d of %d shares", len(recorded),
			len(shares))
	}
	return recorded, nil
}

// SetPayout is [Session.SetPayout] on the sidecar that has the mint bridge.
func (s *Server) SetPayout(
	ctx context.Context, identity, payoutKey []byte, claimUnassigned bool,
) (released uint64, err error) {
	err = s.withBridge(func(session *Session) error {
		released, err = session.SetPayout(ctx, identity, payoutKey, claimUnassigned)
		return err
	})
	return released, err
}

// GetAccount is [Session.GetAccount] on the sidecar that has the mint bridge.
func (s *Server) GetAccount(
	ctx context.Context, identity, payoutKey []byte,
) (account Account, err error) {
	err = s.withBridge(func(session *Session) error {
		account, err = session.GetAccount(ctx, identity, payoutKey)
		return err
	})
	return account, err
}

// RecordShares is [Session.RecordShares] on the sidecar that has the mint bridge.
func (s *Server) RecordShares(
	ctx context.Context, shares []RecordedShare,
) (recorded []bool, err error) {
	err = s.withBridge(func(session *Session) error {
		recorded, err = session.RecordShares(ctx, shares)
		return err
	})
	return recorded, err
}

// withBridge tries the sidecars in the order they came until one knows the call: one ledger per mint,
// so at most one of them does. UNAVAILABLE when no sidecar is connected.
func (s *Server) withBridge(call func(*Session) error) error {
	err := status.Error(codes.Unavailable, "no sidecar is connected")
	for _, session := range s.Sessions() {
		if err = call(session); status.Code(err) != codes.Unimplemented {
			return err
		}
	}
	return err
}
