// All conversions between the contract's messages and package sv2, with their length checks.

package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// MaxBatch is the most submits, verdicts or recorded shares of one message.
const MaxBatch = 256

// Lengths of the contract, in bytes unless said otherwise.
const (
	hashSize       = 32
	maxText        = 255 // user identity, vendor, details, reasons (SV2's STR0_255)
	maxSoftware    = 64
	maxExtranonce  = 32
	maxWorker      = 32
	payoutKeySize  = 33
	maxMerklePath  = 255   // entries (SV2's SEQ0_255)
	maxCoinbase    = 65535 // each part (SV2's B0_64K)
	maxExtensions  = 65535 // entries; an extension type is a u16
	maxKnownReject = sv2.RejectUnauthorized
	maxKnownRefuse = sv2.RefuseInternal
)

// printable is text as printable ASCII, other bytes as '?', cut to limit bytes.
func printable(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			out := []byte(text)
			for j := i; j < len(out); j++ {
				if out[j] < ' ' || out[j] > '~' {
					out[j] = '?'
				}
			}
			return string(out)
		}
	}
	return text
}

// malformed is the refusal for what a sidecar must never send.
func malformed(format string, values ...any) *sv2.Refusal {
	return &sv2.Refusal{Reason: sv2.RefuseInternal, Detail: fmt.Sprintf(format, values...)}
}

// refusalFrom is what the miner is told about a host's error: the refusal it wraps, else
// "internal-error" with the error's text.
func refusalFrom(err error) *sv2.Refusal {
	var refusal *sv2.Refusal
	if !errors.As(err, &refusal) || refusal == nil {
		detail := err.Error()
		if errors.Is(err, context.Canceled) {
			detail = "the host gave up: " + detail
		}
		return &sv2.Refusal{Reason: sv2.RefuseInternal, Detail: printable(detail, maxText)}
	}
	reason := refusal.Reason
	if reason == 0 || reason > maxKnownRefuse {
		reason = sv2.RefuseInternal
	}
	return &sv2.Refusal{Reason: reason, Detail: printable(refusal.Detail, maxText)}
}

// miningTarget is a share target of 32 bytes that isn't zero.
func miningTarget(bytes []byte) (sv2.Target, bool) {
	if len(bytes) != hashSize {
		return sv2.Target{}, false
	}
	target := sv2.Target(bytes)
	return target, !target.IsZero()
}

// hashRate is a rate in H/s that is finite and not negative.
func hashRate(rate float32) (float64, bool) {
	wide := float64(rate)
	return wide, wide >= 0 && !math.IsInf(wide, 1)
}

func updateRequestFrom(m *sv2pb.UpdateChannel) (sv2.UpdateRequest, *sv2.Refusal) {
	rate, ok := hashRate(m.GetNominalHashRate())
	if !ok {
		return sv2.UpdateRequest{}, &sv2.Refusal{Reason: sv2.RefuseHashRate}
	}
	target, ok := miningTarget(m.GetMaxTarget())
	if !ok {
		return sv2.UpdateRequest{}, &sv2.Refusal{Reason: sv2.RefuseMaxTarget,
			Detail: "max_target is not 32 bytes, or zero"}
	}
	return sv2.UpdateRequest{NominalHashRate: rate, MaxTarget: target}, nil
}

func openRequestFrom(m *sv2pb.OpenChannel) (sv2.OpenRequest, *sv2.Refusal) {
	update, refusal := updateRequestFrom(&sv2pb.UpdateChannel{
		NominalHashRate: m.GetNominalHashRate(), MaxTarget: m.GetMaxTarget()})
	if refusal != nil {
		return sv2.OpenRequest{}, refusal
	}
	connection, refusal := connectionFrom(m.GetConnection())
	if refusal != nil {
		return sv2.OpenRequest{}, refusal
	}
	request := sv2.OpenRequest{
		Connection:        connection,
		UserIdentity:      m.GetUserIdentity(),
		NominalHashRate:   update.NominalHashRate,
		MaxTarget:         update.MaxTarget,
		MinExtranonceSize: int(min(m.GetMinExtranonceSize(), maxExtranonce)),
		WantedPrefix:      m.GetWantedExtranoncePrefix(),
		PayoutKey:         m.GetPayoutKey(),
		Reopen:            m.GetReopen(),
	}
	switch m.GetKind() {
	case sv2pb.ChannelKind_CHANNEL_KIND_STANDARD:
		request.Kind, request.MinExtranonceSize = sv2.Standard, 0
	case sv2pb.ChannelKind_CHANNEL_KIND_EXTENDED:
		request.Kind = sv2.Extended
		if m.GetMinExtranonceSize() > maxExtranonce-1 {
			return request, &sv2.Refusal{Reason: sv2.RefuseExtranonceSize}
		}
	default:
		return request, malformed("kind %d is neither standard nor extended", int32(m.GetKind()))
	}
	if n := len(request.UserIdentity); n > maxText {
		return request, &sv2.Refusal{Reason: sv2.RefuseInvalidUserIdentity,
			Detail: fmt.Sprintf("user_identity has %d bytes, at most %d", n, maxText)}
	}
	if n := len(request.WantedPrefix); n > maxExtranonce {
		return request, malformed("wanted_extranonce_prefix has %d bytes, at most %d", n, maxExtranonce)
	}
	if n := len(request.PayoutKey); n != 0 && n != payoutKeySize {
		return request, malformed("payout_key has %d bytes, want 0 or %d", n, payoutKeySize)
	}
	switch last := m.GetLastTarget(); len(last) {
	case 0:
	case hashSize:
		request.LastTarget = sv2.Target(last)
	default:
		return request, malformed("last_target has %d bytes, want 0 or %d", len(last), hashSize)
	}
	return request, nil
}

func connectionFrom(m *sv2pb.Connection) (sv2.Connection, *sv2.Refusal) {
	if m.GetId() == 0 {
		return sv2.Connection{}, malformed("connection is missing or has id 0")
	}
	if n := len(m.GetRemoteAddress()); n > maxText {
		return sv2.Connection{}, malformed("remote_address has %d bytes, at most %d", n, maxText)
	}
	for _, text := range [][]byte{
		m.GetVendor(), m.GetHardwareVersion(), m.GetFirmware(), m.GetDeviceId(),
	} {
		if len(text) > maxText {
			return sv2.Connection{}, malformed("a text of SetupConnection has %d bytes, at most %d",
				len(text), maxText)
		}
	}
	if n := len(m.GetExtensions()); n > maxExtensions {
		return sv2.Connection{}, malformed("%d extensions, at most %d", n, maxExtensions)
	}
	return sv2.Connection{
		ID: m.GetId(), RemoteAddress: m.GetRemoteAddress(),
		Vendor: m.GetVendor(), HardwareVersion: m.GetHardwareVersion(),
		Firmware: m.GetFirmware(), DeviceID: m.GetDeviceId(),
		SetupFlags: m.GetSetupFlags(), Extensions: m.GetExtensions(),
		ConnectedAt: time.UnixMilli(m.GetConnectedMs()),
	}, nil
}

// checkJob is what is wrong with a host's job.
func checkJob(job *sv2.Job) error {
	switch {
	case job == nil:
		return errors.New("job is nil")
	case job.ID == 0:
		return errors.New("job has id 0")
	case len(job.MerklePath) > maxMerklePath:
		return fmt.Errorf("job %d: merkle path has %d hashes, at most %d", job.ID,
			len(job.MerklePath), maxMerklePath)
	case len(job.CoinbasePrefix) == 0 || len(job.CoinbasePrefix) > maxCoinbase:
		return fmt.Errorf("job %d: coinbase prefix has %d bytes, want 1 to %d", job.ID,
			len(job.CoinbasePrefix), maxCoinbase)
	case len(job.CoinbaseSuffix) == 0 || len(job.CoinbaseSuffix) > maxCoinbase:
		return fmt.Errorf("job %d: coinbase suffix has %d bytes, want 1 to %d", job.ID,
			len(job.CoinbaseSuffix), maxCoinbase)
	}
	return nil
}

// jobMessage shares the job's memory: a job doesn't change once it was given to a sink.
func jobMessage(job *sv2.Job, channels []uint64) *sv2pb.Job {
	m := &sv2pb.Job{
		Id: job.ID, ChannelIds: channels, PrevHash: job.PrevHash[:], Nbits: job.NBits,
		Version: job.Version, VersionMask: job.VersionMask, MinNtime: job.MinNTime,
		MerklePath:     make([][]byte, len(job.MerklePath)),
		CoinbasePrefix: job.CoinbasePrefix, CoinbaseSuffix: job.CoinbaseSuffix,
		StaleRule: sv2pb.StaleRule_STALE_RULE_HOST, Height: job.Height,
	}
	if job.MaxNTime != 0 {
		m.MaxNtime = &job.MaxNTime
	}
	if job.StaleRule == sv2.StaleStrict {
		m.StaleRule = sv2pb.StaleRule_STALE_RULE_STRICT
	}
	for i := range job.MerklePath {
		m.MerklePath[i] = job.MerklePath[i][:]
	}
	return m
}

// openedMessage is the answer to an open, without Job.seq, or what is wrong with the host's.
func openedMessage(
	id uint64, request sv2.OpenRequest, opened sv2.Opened,
) (*sv2pb.SessionResponse, error) {
	prefix, size := len(opened.Prefix), opened.ExtranonceSize
	switch {
	case prefix == 0 || prefix > maxExtranonce:
		return nil, fmt.Errorf("extranonce prefix has %d bytes, want 1 to %d", prefix, maxExtranonce)
	case size < 0 || prefix+size > maxExtranonce:
		return nil, fmt.Errorf("extranonce size is %d with a prefix of %d bytes: at most %d together",
			size, prefix, maxExtranonce)
	case request.Kind == sv2.Standard && size != 0:
		return nil, fmt.Errorf("extranonce size is %d on a standard channel, want 0", size)
	case size < request.MinExtranonceSize:
		return nil, fmt.Errorf("extranonce size is %d, the miner needs %d", size,
			request.MinExtranonceSize)
	case opened.Target.IsZero():
		return nil, errors.New("target is zero")
	}
	if err := checkJob(opened.Job); err != nil {
		return nil, err
	}
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_ChannelOpened{
		ChannelOpened: &sv2pb.ChannelOpened{
			ChannelId: id, ExtranoncePrefix: opened.Prefix, ExtranonceSize: uint32(size),
			Target: opened.Target[:], Job: jobMessage(opened.Job, nil),
		}}}, nil
}

func refusedMessage(id uint64, refusal *sv2.Refusal) *sv2pb.SessionResponse {
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_ChannelRefused{
		ChannelRefused: &sv2pb.ChannelRefused{ChannelId: id,
			Reason: sv2pb.RefuseReason(refusal.Reason), Detail: printable(refusal.Detail, maxText)}}}
}

// updatedMessage answers an update; refusal is nil when it is done.
func updatedMessage(id uint64, request uint32, refusal *sv2.Refusal) *sv2pb.SessionResponse {
	m := &sv2pb.ChannelUpdated{ChannelId: id, RequestId: request}
	if refusal != nil {
		m.Refused = sv2pb.RefuseReason(refusal.Reason)
		m.Detail = printable(refusal.Detail, maxText)
	}
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_ChannelUpdated{ChannelUpdated: m}}
}

func targetMessage(id uint64, target sv2.Target) *sv2pb.SessionResponse {
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_SetTarget{
		SetTarget: &sv2pb.SetTarget{ChannelId: id, Target: target[:]}}}
}

func blockResultMessage(id uint64, result sv2.BlockResult) *sv2pb.SessionResponse {
	accepted := &result.Accepted
	if result.Unknown {
		accepted = nil
	}
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_BlockResult{
		BlockResult: &sv2pb.BlockResult{
			SubmitId: result.SubmitID, ChannelId: id, BlockHash: result.Hash[:],
			Height: result.Height, Accepted: accepted,
			Detail: printable(result.Detail, maxText),
		}}}
}

func kickMessage(id uint64, kick sv2.Kick) *sv2pb.SessionResponse {
	m := &sv2pb.Kick{ChannelId: id, Action: sv2pb.KickAction_KICK_ACTION_CLOSE_CHANNEL,
		Reason: printable(kick.Reason, maxText)}
	if m.Reason == "" {
		m.Reason = "closed-by-pool"
	}
	switch kick.Action {
	case sv2.KickConnection:
		m.Action = sv2pb.KickAction_KICK_ACTION_CLOSE_CONNECTION
	case sv2.KickReconnect:
		m.Action = sv2pb.KickAction_KICK_ACTION_RECONNECT
		m.Host, m.Port = printable(kick.Host, maxText), uint32(kick.Port)
	}
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Kick{Kick: m}}
}

func drainMessage(grace time.Duration, reason string) *sv2pb.SessionResponse {
	ms := min(max(grace.Milliseconds(), 0), math.MaxUint32)
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Drain{
		Drain: &sv2pb.Drain{GraceMs: uint32(ms), Reason: printable(reason, maxText)}}}
}

// checkAccount refuses lengths the contract has no room for, as a gRPC status.
func checkAccount(identity, payoutKey []byte) error {
	if len(identity) > maxText {
		return status.Errorf(codes.InvalidArgument, "user identity has %d bytes, at most %d",
			len(identity), maxText)
	}
	if n := len(payoutKey); n != 0 && n != payoutKeySize {
		return status.Errorf(codes.InvalidArgument, "payout key has %d bytes, want 0 or %d", n,
			payoutKeySize)
	}
	return nil
}

func accountFrom(m *sv2pb.Account) Account {
	return Account{
		Accrued: sv2.Difficulty{
			Whole: m.GetAccrued().GetWhole(), Fraction: m.GetAccrued().GetFraction()},
		Shares: m.GetShares(), Pending: m.GetPendingAmount(), Confirmed: m.GetConfirmedAmount(),
		Issued: m.GetIssuedAmount(), Unit: m.GetUnit(), QuoteRequests: m.GetQuoteRequests(),
		QuoteIDs: m.GetQuoteIds(),
		Frozen:   m.GetFrozen(),
	}
}

func recordedShareMessages(shares []RecordedShare) ([]*sv2pb.RecordedShare, error) {
	if len(shares) == 0 || len(shares) > MaxBatch {
		return nil, status.Errorf(codes.InvalidArgument, "%d shares, want 1 to %d", len(shares),
			MaxBatch)
	}
	out := make([]*sv2pb.RecordedShare, len(shares))
	for i := range shares {
		share := shares[i]
		if err := checkAccount(share.UserIdentity, share.PayoutKey); err != nil {
			return nil, err
		}
		out[i] = &sv2pb.RecordedShare{
			ShareHash: share.Hash[:], UserIdentity: share.UserIdentity, PayoutKey: share.PayoutKey,
			Credit: &sv2pb.Difficulty{
				Whole: share.Credit.Whole, Fraction: share.Credit.Fraction},
			Height: share.Height, BlockCandidate: share.BlockCandidate,
			AcceptedMs: share.AcceptedAt.UnixMilli(),
		}
	}
	return out, nil
}
