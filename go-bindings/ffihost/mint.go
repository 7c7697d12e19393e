// What a pool asks the mint bridge of the listener.

package ffihost

import (
	"context"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
)

// SetPayout is [session.Session.SetPayout] on the listener's mint bridge.
func (s *Server) SetPayout(
	ctx context.Context, identity, payoutKey []byte, claimUnassigned bool,
) (released uint64, err error) {
	return s.sessions.SetPayout(ctx, identity, payoutKey, claimUnassigned)
}

// GetAccount is [session.Session.GetAccount] on the listener's mint bridge.
func (s *Server) GetAccount(
	ctx context.Context, identity, payoutKey []byte,
) (account session.Account, err error) {
	return s.sessions.GetAccount(ctx, identity, payoutKey)
}

// RecordShares is [session.Session.RecordShares] on the listener's mint bridge.
func (s *Server) RecordShares(
	ctx context.Context, shares []session.RecordedShare,
) (recorded []bool, err error) {
	return s.sessions.RecordShares(ctx, shares)
}
