// JSON-RPC over HTTP.

package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// maxAnswer is the longest answer read, in bytes. A full block's template is about 10 MB.
const maxAnswer = 64 << 20

// rpc calls the node. Safe for concurrent use.
type rpc struct {
	url    string
	auth   credentials
	client *http.Client
}

// credentials are in a file, for a command line can be read by every user of the machine.
type credentials struct {
	path   string
	cookie bool // the node writes the file anew each time it starts
}

// newRPC checks what can be checked without the node.
func newRPC(o Options) (*rpc, error) {
	address, err := url.Parse(o.URL)
	switch {
	case err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https":
		return nil, errors.New("the node's URL must be http://HOST:PORT, or https://HOST:PORT for a " +
			"node with TLS such as btcd")
	case address.User != nil:
		return nil, errors.New("no password belongs into the node's URL, other users of this machine " +
			"can read it there: put USER:PASSWORD into a file")
	case address.Scheme == "http" && o.CAFile != "":
		return nil, errors.New("a certificate is for a node with TLS: write https:// in its URL")
	case (o.CookieFile == "") == (o.AuthFile == ""):
		return nil, errors.New("the node wants a password: give Bitcoin Core's cookie file, or a file " +
			"with USER:PASSWORD, and not both")
	}
	transport := &http.Transport{
		// Nodes close idle connections when they like, and a POST on a closed one fails.
		DisableKeepAlives: true,
		// No Proxy: the password goes to the node and to nobody else.
	}
	if o.CAFile != "" {
		certificate, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the node's certificate: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(certificate) {
			return nil, fmt.Errorf("%s holds no certificate (PEM): give the node's own, "+
				"rpc.cert in btcd's home directory", o.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	r := &rpc{
		url:  address.String(),
		auth: credentials{path: o.AuthFile},
		client: &http.Client{
			Transport: transport,
			// A node doesn't redirect; whoever does shall not get the password.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if o.CookieFile != "" {
		r.auth = credentials{path: o.CookieFile, cookie: true}
	}
	return r, nil
}

// read returns user and password, read anew for each call: a node that starts again makes a new
// cookie.
func (c credentials) read() (user, password string, err error) {
	if !c.cookie {
		// The node protects its cookie; this file is the operator's.
		if info, err := os.Stat(c.path); err == nil && info.Mode().Perm()&0o007 != 0 {
			return "", "", fmt.Errorf("%s holds a password that all users can read: chmod 600 it", c.path)
		}
	}
	text, err := os.ReadFile(c.path)
	switch {
	case errors.Is(err, os.ErrNotExist) && c.cookie:
		return "", "", fmt.Errorf("%w: is the node running, which makes this file when it starts, and "+
			"is this the .cookie of its chain?", err)
	case err != nil:
		return "", "", fmt.Errorf("read the node's password: %w", err)
	}
	user, password, found := strings.Cut(strings.TrimRight(string(text), "\r\n"), ":")
	if !found || user == "" {
		return "", "", fmt.Errorf("%s must hold one line, USER:PASSWORD", c.path)
	}
	return user, password, nil
}

// call asks the node and decodes the result into result, unless that is nil. The error says the
// remedy; errors.As finds an *rpcError when the node itself has refused.
func (r *rpc) call(ctx context.Context, result any, method string, params ...any) error {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{
		"jsonrpc": "1.0", "id": "minipool", "method": method, "params": params,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	user, password, err := r.auth.read()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	request.SetBasicAuth(user, password)
	request.Header.Set("Content-Type", "application/json")
	response, err := r.client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", method, explain(err))
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: read the answer: %w", method, err)
	}
	if err := r.decode(response, answer, result); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// decode takes an answer apart. Nodes give errors with various HTTP codes, and JSON with most.
func (r *rpc) decode(response *http.Response, answer []byte, result any) error {
	var envelope struct {
		Result json.RawMessage `json:"result"`
		Error  *rpcError       `json:"error"`
	}
	err := json.Unmarshal(answer, &envelope)
	switch {
	case response.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("the node refuses user or password: is %s the file of this node?", r.auth.path)
	case response.StatusCode == http.StatusForbidden:
		return errors.New("the node forbids it: allow this address with rpcallowip, and the call with " +
			"rpcwhitelist if that is set")
	case response.StatusCode == http.StatusServiceUnavailable:
		return errors.New("the node has too many requests (HTTP 503): raise its rpcworkqueue " +
			"(btcd: rpcmaxclients)")
	case err != nil:
		return fmt.Errorf("HTTP %s and no JSON in the answer: is this the RPC port of a node, and "+
			"http:// or https:// right?", response.Status)
	case envelope.Error != nil:
		return envelope.Error
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("the node answers HTTP %s", response.Status)
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(envelope.Result, result); err != nil {
		return fmt.Errorf("the answer isn't what was expected: %w", err)
	}
	return nil
}
