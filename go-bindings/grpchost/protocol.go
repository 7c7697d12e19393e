// What every call has in common: the version check, keepalive, limits of gRPC.

package grpchost

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ProtocolHeader is the metadata key that carries the contract's version, in calls and in answers.
const ProtocolHeader = "x-gopool-sv2-protocol"

const (
	// keepaliveMinTime must stay strictly below the sidecar's ping interval of 10 s: grpc-go answers
	// pings that come sooner with GOAWAY, and its default is 5 minutes.
	keepaliveMinTime = 5 * time.Second
	// keepaliveTime and keepaliveTimeout find a dead peer within 15 s.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// connectTimeout ends a connection that never finishes its HTTP/2 preface.
	connectTimeout = 10 * time.Second
	// maxStreams per connection: a sidecar needs two, health watchers a few.
	maxStreams = 64
	// healthPrefix is exempt from the version check, so that any prober works.
	healthPrefix = "/grpc.health.v1.Health/"
)

// enforcement lets a sidecar ping an idle line every 10 s.
func enforcement() keepalive.EnforcementPolicy {
	return keepalive.EnforcementPolicy{MinTime: keepaliveMinTime, PermitWithoutStream: true}
}

// serverOptions are the grpc-go options of every server of this package.
func serverOptions(o Options) []grpc.ServerOption {
	secured := o.Credentials
	if secured == nil {
		secured = insecure.NewCredentials()
	}
	return []grpc.ServerOption{
		grpc.Creds(secured),
		grpc.KeepaliveEnforcementPolicy(enforcement()),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout,
		}),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(MaxMessageSize),
		grpc.MaxSendMsgSize(MaxMessageSize),
		grpc.WaitForHandlers(true),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.ChainUnaryInterceptor(checkUnary),
		grpc.ChainStreamInterceptor(checkStream),
	}
}

func checkUnary(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler,
) (any, error) {
	if strings.HasPrefix(info.FullMethod, healthPrefix) {
		return next(ctx, request)
	}
	if err := grpc.SetHeader(ctx, protocolHeader()); err != nil {
		return nil, err
	}
	if err := checkProtocolHeader(ctx); err != nil {
		return nil, err
	}
	return next(ctx, request)
}

func checkStream(
	server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler,
) error {
	if strings.HasPrefix(info.FullMethod, healthPrefix) {
		return next(server, stream)
	}
	if err := stream.SetHeader(protocolHeader()); err != nil {
		return err
	}
	if err := checkProtocolHeader(stream.Context()); err != nil {
		return err
	}
	return next(server, stream)
}

func protocolHeader() metadata.MD {
	return metadata.Pairs(ProtocolHeader, strconv.Itoa(Protocol))
}

// checkProtocolHeader is FAILED_PRECONDITION unless the call names exactly our version.
func checkProtocolHeader(ctx context.Context) error {
	values := metadata.ValueFromIncomingContext(ctx, ProtocolHeader)
	if len(values) == 1 && values[0] == strconv.Itoa(Protocol) {
		return nil
	}
	said := "no version"
	if len(values) > 0 {
		text := strings.Join(values, ",")
		said = "version " + strconv.QuoteToASCII(text[:min(len(text), 32)])
	}
	return status.Errorf(codes.FailedPrecondition,
		"this pool speaks version %d of gopool.sv2; the call says %s: send metadata %s: %d, "+
			"or use a sidecar of the same release", Protocol, said, ProtocolHeader, Protocol)
}
