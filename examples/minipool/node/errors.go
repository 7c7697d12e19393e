// What can go wrong between the pool and its node, and what an operator can do about it.

package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
)

var (
	// ErrAway says that the node has not answered for so long that its last template is of no use.
	ErrAway = errors.New("the node is away")

	// ErrRefused says that the node has not taken a block. The node's reason is in the text.
	ErrRefused = errors.New("refused by the node")
)

// Error codes that nodes agree on.
const (
	codeInternal      = -32603
	codeWarmUp        = -28
	codeDecode        = -22
	codeDownload      = -10
	codeNotConnected  = -9
	codeUnknownBlock  = -5
	codeUnknownMethod = -32601
)

// rpcError is the node's own refusal of a call.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error has the node's words, and the remedy where there is one.
func (e *rpcError) Error() string {
	remedy := map[int]string{
		codeWarmUp:   ": it is still starting, wait",
		codeDownload: ": it has not caught up with its network, wait until getblockchaininfo says so",
		codeNotConnected: ": it has no peers, a block could reach nobody; connect it " +
			"(addnode, or a working network)",
		codeUnknownMethod: ": it is no node for mining",
	}[e.Code]
	return fmt.Sprintf("the node says %q (%d)%s", e.Message, e.Code, remedy)
}

// explain adds the remedy to an error of the connection.
func explain(err error) error {
	var (
		lookup *net.DNSError
		plain  tls.RecordHeaderError
		signer x509.UnknownAuthorityError
		name   x509.HostnameError
		cert   x509.CertificateInvalidError
	)
	remedy := ""
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		remedy = "is the node running, with its RPC server on (Bitcoin Core: server=1) and on this port?"
	case errors.As(err, &lookup):
		remedy = "is the host's name right?"
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		remedy = "the node answers without TLS: write http:// in its URL"
	case errors.As(err, &signer):
		remedy = "give the node's certificate, rpc.cert in btcd's home directory"
	case errors.As(err, &name):
		remedy = "use a host name of the certificate, or make one for this host " +
			"(btcd: gencerts -H HOST)"
	case errors.As(err, &cert):
		remedy = "make a new certificate (btcd: remove rpc.cert and rpc.key, and restart it)"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		remedy = "the node hung up: was it stopped?"
	case errors.Is(err, context.DeadlineExceeded):
		remedy = "the node took too long: is it busy, or stuck?"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}
