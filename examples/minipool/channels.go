// A look at the channels that come and go.

package main

import (
	"context"
	"encoding/hex"
	"log/slog"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// watchedHost is the pool with a look at the channels that come and go. A pool that doesn't care gives
// its *sv2.Pool to the carrier as it is.
type watchedHost struct {
	sv2.Host
	log *slog.Logger
}

// OpenChannel logs what came of it. What a miner sent is escaped; who it is, is up to him.
func (h watchedHost) OpenChannel(
	ctx context.Context, request sv2.OpenRequest, sink sv2.Sink,
) (sv2.Channel, sv2.Opened, error) {
	log := h.log.With("user", escape(request.UserIdentity), "kind", request.Kind,
		"conn", request.Connection.ID, "remote", escape([]byte(request.Connection.RemoteAddress)))
	channel, opened, err := h.Host.OpenChannel(ctx, request, sink)
	if err != nil {
		log.Info("channel refused", "err", err)
		return nil, opened, err
	}
	log.Info("channel opened", "difficulty", opened.Target.Difficulty().Float(),
		"extranonce_prefix", hex.EncodeToString(opened.Prefix))
	return watchedChannel{channel, log}, opened, nil
}

var _ sv2.Withdrawer = watchedChannel{}

// watchedChannel logs its end.
type watchedChannel struct {
	sv2.Channel
	log *slog.Logger
}

// Withdraw passes on what is not part of sv2.Channel: a wrapper that forgets it hides it.
func (c watchedChannel) Withdraw(verdicts []sv2.Verdict) {
	if pool, ok := c.Channel.(sv2.Withdrawer); ok {
		pool.Withdraw(verdicts)
	}
}

// Close ends the channel.
func (c watchedChannel) Close(reason string) {
	c.Channel.Close(reason)
	c.log.Info("channel closed", "reason", reason)
}
