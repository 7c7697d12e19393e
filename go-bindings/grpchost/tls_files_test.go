// Authorities and certificates of the tests, made anew each time, and promises of the files.

package grpchost

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates. All have the same name, as those that the same commands made.
type authority struct {
	t           testing.TB
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// papers are a certificate and its key in PEM.
type papers struct{ certificate, key []byte }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	a.certificate = &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// sign makes papers of a good certificate for name, of both uses, unless spoil changes that.
func (a *authority) sign(name string, spoil func(*x509.Certificate)) papers {
	a.t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, SerialNumber: big.NewInt(1),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if spoil != nil {
		spoil(template)
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return papers{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})}
}

func (p papers) tls(t testing.TB) tls.Certificate {
	t.Helper()
	certificate, err := tls.X509KeyPair(p.certificate, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// write replaces a file in one step, as whoever renews certificates should.
func write(t testing.TB, path string, content []byte, mode fs.FileMode) {
	t.Helper()
	next := path + ".new"
	if err := os.WriteFile(next, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// filesOf writes the three files of a pool.
func filesOf(t testing.TB, clients *authority, p papers) TLSOptions {
	t.Helper()
	dir := t.TempDir()
	o := TLSOptions{CAFile: filepath.Join(dir, "ca.pem"), CertificateFile: filepath.Join(dir, "pool.pem"),
		KeyFile: filepath.Join(dir, "pool.key")}
	write(t, o.CAFile, clients.pem(), 0o644)
	write(t, o.CertificateFile, p.certificate, 0o644)
	write(t, o.KeyFile, p.key, 0o600)
	return o
}

func TestRejectsTLSFilesThatCanNotBeUsed(t *testing.T) {
	a := newAuthority(t)
	good, other := a.sign("pool", nil), a.sign("other", nil)
	for want, spoil := range map[string]func(o *TLSOptions){
		"CAFile is not set":                   func(o *TLSOptions) { o.CAFile = "" },
		"KeyFile is not set":                  func(o *TLSOptions) { o.KeyFile = "" },
		"pool.pem: no such file":              func(o *TLSOptions) { _ = os.Remove(o.CertificateFile) },
		"ca.pem: holds no certificate in PEM": func(o *TLSOptions) { write(t, o.CAFile, []byte("x"), 0o644) },
		"ca.pem: is longer than 1048576":      func(o *TLSOptions) { write(t, o.CAFile, make([]byte, 2<<20), 0o644) },
		"CAFile /dev/null: is not a regular":  func(o *TLSOptions) { o.CAFile = "/dev/null" },
		"must be PEM and made for each other": func(o *TLSOptions) { write(t, o.KeyFile, other.key, 0o600) },
		"failed to find any PEM data":         func(o *TLSOptions) { write(t, o.CertificateFile, nil, 0o600) },
		"mode 0640 lets other users in: run":  func(o *TLSOptions) { write(t, o.KeyFile, good.key, 0o640) },
		"HandshakeTimeout is -1ns":            func(o *TLSOptions) { o.HandshakeTimeout = -1 },
	} {
		t.Run(want, func(t *testing.T) {
			o := filesOf(t, a, good)
			o.Logger = slog.New(slog.DiscardHandler)
			spoil(&o)
			listener, err := ListenTLS("127.0.0.1:0", o)
			if err == nil {
				_ = listener.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v\ndoesn't say %q", err, want)
			}
		})
	}
	_, err := ListenTLS("127.0.0.1:0", TLSOptions{})
	for _, option := range []string{"CAFile", "CertificateFile", "KeyFile"} {
		if err == nil || !strings.Contains(err.Error(), option+" is not set") {
			t.Errorf("%v doesn't name %s, too", err, option)
		}
	}
}

// serial is the number of the certificate that is shown now.
func (f *tlsFiles) serial(t *testing.T) int64 {
	t.Helper()
	return f.current().Certificates[0].Leaf.SerialNumber.Int64()
}

func numbered(n int64) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.SerialNumber = big.NewInt(n) }
}

func TestTakesFilesThatChangedAndKeepsTheOldOnesWhileTheyAreBroken(t *testing.T) {
	a := newAuthority(t)
	one, two := a.sign("pool", numbered(1)), a.sign("pool", numbered(2))
	o, log := filesOf(t, a, one), &logs{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	files := &tlsFiles{options: o, states: statesOf(o)}
	if err := files.load(); err != nil {
		t.Fatal(err)
	}
	first := files.current()
	if files.current() != first {
		t.Error("read again without need")
	}
	// Half of the new pair, then the key where all can read it, then all as it should be.
	write(t, o.CertificateFile, two.certificate, 0o644)
	if files.serial(t) != 1 || !strings.Contains(log.String(), "made for each other") {
		t.Errorf("half of a pair: certificate %d, %s", files.serial(t), log)
	}
	lines := strings.Count(log.String(), "can't be used")
	if files.serial(t) != 1 || strings.Count(log.String(), "can't be used") != lines {
		t.Errorf("the same fault is logged again: %s", log)
	}
	write(t, o.KeyFile, two.key, 0o644)
	if files.serial(t) != 1 || !strings.Contains(log.String(), "mode 0644") {
		t.Errorf("an open key: certificate %d, %s", files.serial(t), log)
	}
	if err := os.Chmod(o.KeyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	if files.serial(t) != 2 || !strings.Contains(log.String(), "are in use") {
		t.Errorf("the new pair: certificate %d, %s", files.serial(t), log)
	}
	// A file that goes and comes back.
	if err := os.Remove(o.CAFile); err != nil {
		t.Fatal(err)
	}
	if files.serial(t) != 2 || !strings.Contains(log.String(), "no such file") {
		t.Errorf("no authority: certificate %d, %s", files.serial(t), log)
	}
	other := newAuthority(t)
	write(t, o.CAFile, bytes.Join([][]byte{a.pem(), other.pem()}, nil), 0o644)
	want := a.pool()
	want.AddCert(other.certificate)
	if !files.current().ClientCAs.Equal(want) {
		t.Error("two authorities in one file are not both trusted")
	}
}

func TestWarnsOfAnExpiredCertificateOfItsOwn(t *testing.T) {
	a, log := newAuthority(t), &logs{}
	o := filesOf(t, a, a.sign("pool", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	listener, err := ListenTLS("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	if !strings.Contains(log.String(), "renew it") {
		t.Errorf("no word of it: %s", log)
	}
}
