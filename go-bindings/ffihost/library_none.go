//go:build !cgo || !(sv2_static || sv2_system || sv2_pkgconfig)

// What stands for the library in a program that is built without it.

package ffihost

const linked = false

type library uint64

func newLibrary(string, []byte, int) (library, error) { return 0, ErrNoLibrary }

func (library) start() error                        { return ErrNoLibrary }
func (library) url() (string, error)                { return "", ErrNoLibrary }
func (library) eventFD() (int, error)               { return 0, ErrNoLibrary }
func (library) drain() error                        { return ErrNoLibrary }
func (library) hangUp(uint32) error                 { return ErrNoLibrary }
func (library) free() error                         { return ErrNoLibrary }
func (library) poll([]event) (int, error)           { return 0, ErrNoLibrary }
func (library) take(uint64, uint32) ([]byte, error) { return nil, ErrNoLibrary }
func (library) complete(uint32, []verdict) error    { return ErrNoLibrary }
func (library) control(uint32, []byte) error        { return ErrNoLibrary }
func (library) acknowledge(uint32, []byte) error    { return ErrNoLibrary }
