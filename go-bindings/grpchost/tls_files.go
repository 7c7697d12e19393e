// The files of a TLS listener, read again when they change.

package grpchost

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"
)

// maxFile bounds what is read of a file, in bytes. A bundle of all public authorities has about 220,000.
const maxFile = 1 << 20

// tlsFiles is what a listener shows and trusts now.
type tlsFiles struct {
	options TLSOptions

	mu     sync.Mutex
	states [3]fileState // when they were last read, well or not
	config *tls.Config
}

// fileState tells a file from what it becomes.
type fileState struct {
	info  fs.FileInfo // nil: there was none
	fault string
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{fault: err.Error()}
	}
	return fileState{info: info}
}

func statesOf(o TLSOptions) [3]fileState {
	return [3]fileState{stateOf(o.CAFile), stateOf(o.CertificateFile), stateOf(o.KeyFile)}
}

// is reports whether a file is still the same. A file that takes the place of another one has another
// inode, whatever its time says; the mode counts because a remedy may be chmod.
func (s fileState) is(other fileState) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil && s.fault == other.fault
	}
	return os.SameFile(s.info, other.info) && s.info.ModTime().Equal(other.info.ModTime()) &&
		s.info.Size() == other.info.Size() && s.info.Mode() == other.info.Mode()
}

// current is the configuration for a new connection.
func (f *tlsFiles) current() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Before the files are read: what changes meanwhile is read again.
	states := statesOf(f.options)
	same := true
	for i, state := range states {
		same = same && state.is(f.states[i])
	}
	if same {
		return f.config
	}
	f.states = states
	if err := f.load(); err != nil {
		f.options.Logger.Error("TLS files have changed and can't be used: the old ones stay in use",
			"error", err)
	} else {
		f.options.Logger.Info("TLS files have changed and are in use",
			"expires", f.config.Certificates[0].Leaf.NotAfter)
	}
	return f.config
}

// load reads all files into a new configuration, or leaves the old one and names all that is wrong.
// It's for the one who has the lock, or is alone.
func (f *tlsFiles) load() error {
	authorities, faultCA := readAuthorities(f.options.CAFile)
	certificate, faultCertificate := readFile("CertificateFile", f.options.CertificateFile)
	key, faultKey := readKey(f.options.KeyFile)
	if err := errors.Join(faultCA, faultCertificate, faultKey); err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w: both must be PEM and made for each other",
			f.options.CertificateFile, f.options.KeyFile, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		// It may be the clock of this machine that is wrong: the sidecars decide.
		f.options.Logger.Warn("the TLS certificate is not valid now and sidecars refuse it: renew it",
			"file", f.options.CertificateFile, "from", pair.Leaf.NotBefore, "until", pair.Leaf.NotAfter)
	}
	f.config = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authorities,
		NextProtos:   []string{http2},
		// Each connection shows its certificate: one that is no longer good can't come back.
		SessionTicketsDisabled: true,
		VerifyConnection:       f.options.checkPeer,
	}
	return nil
}

func readAuthorities(path string) (*x509.CertPool, error) {
	text, err := readFile("CAFile", path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("CAFile %s: holds no certificate in PEM", path)
	}
	return pool, nil
}

// readKey reads a file that nobody else may read.
func readKey(path string) ([]byte, error) {
	return readFileIf("KeyFile", path, func(info fs.FileInfo) error {
		if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
			return fmt.Errorf("mode %#o lets other users in: run `chmod 600` on it, and make a new key "+
				"if they may have read it", mode)
		}
		return nil
	})
}

// readFile reads a file that an option names.
func readFile(option, path string) ([]byte, error) {
	return readFileIf(option, path, func(fs.FileInfo) error { return nil })
}

// readFileIf reads a file that an option names if good says nothing against it.
func readFileIf(option, path string, good func(fs.FileInfo) error) (_ []byte, err error) {
	if path == "" {
		return nil, fmt.Errorf("%s is not set: name the file", option)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s %s: %w", option, path, err)
		}
	}()
	if info, err := os.Stat(path); err != nil {
		return nil, reason(err)
	} else if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, errors.New("is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer func() { _ = file.Close() }()
	// Of the open file, not of the path: what is checked is what is read.
	info, err := file.Stat()
	if err == nil {
		err = good(info)
	}
	if err != nil {
		return nil, reason(err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("is longer than %d bytes: is it the right file?", maxFile)
	}
	return text, nil
}

// reason is an error about a file without the name of the file.
func reason(err error) error {
	if about := new(fs.PathError); errors.As(err, &about) {
		return about.Err
	}
	return err
}
