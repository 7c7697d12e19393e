//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig)

// The calls of the library.

package ffihost

/*
#cgo sv2_static CFLAGS: -I${SRCDIR}
#cgo sv2_static,linux,amd64 LDFLAGS: ${SRCDIR}/lib/linux_amd64/libgopool_sv2.a
#cgo sv2_static,linux,arm64 LDFLAGS: ${SRCDIR}/lib/linux_arm64/libgopool_sv2.a
#cgo sv2_static LDFLAGS: -lm -ldl -lpthread
#cgo sv2_system CFLAGS: -I${SRCDIR}
#cgo sv2_system LDFLAGS: -lgopool_sv2
#cgo sv2_pkgconfig pkg-config: gopool-sv2
#cgo noescape gsv2_runtime_poll
#cgo nocallback gsv2_runtime_poll
#cgo noescape gsv2_runtime_take
#cgo nocallback gsv2_runtime_take
#cgo noescape gsv2_runtime_complete
#cgo nocallback gsv2_runtime_complete
#cgo noescape gsv2_runtime_control
#cgo nocallback gsv2_runtime_control
#cgo noescape gsv2_runtime_acknowledge
#cgo nocallback gsv2_runtime_acknowledge
#include "gopool_sv2.h"

// A library of another version has no such symbol, and can't be linked.
void (*const gsv2_this_abi)(void) = gsv2_abi_v1;

static gsv2_result make_runtime(const char *path, size_t path_length, const char *toml, size_t toml_length,
                                uint32_t threads, gsv2_runtime *out) {
  gsv2_config config = {0};
  config.struct_size = sizeof config;
  config.threads = threads;
  config.path = path;
  config.path_length = path_length;
  config.toml = toml;
  config.toml_length = toml_length;
  return gsv2_runtime_new(&config, out);
}
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// The structs of both languages are the same memory.
const (
	_ = uint(unsafe.Sizeof(event{}) - C.sizeof_gsv2_event)
	_ = uint(C.sizeof_gsv2_event - unsafe.Sizeof(event{}))
	_ = uint(unsafe.Sizeof(verdict{}) - C.sizeof_gsv2_verdict)
	_ = uint(C.sizeof_gsv2_verdict - unsafe.Sizeof(verdict{}))
	_ = uint(unsafe.Offsetof(event{}.worker) - unsafe.Offsetof(C.gsv2_event{}.worker))
	_ = uint(unsafe.Offsetof(C.gsv2_event{}.worker) - unsafe.Offsetof(event{}.worker))
	_ = uint(unsafe.Offsetof(verdict{}.hash) - unsafe.Offsetof(C.gsv2_verdict{}.share_hash))
	_ = uint(unsafe.Offsetof(C.gsv2_verdict{}.share_hash) - unsafe.Offsetof(verdict{}.hash))
)

// linked is whether the library is there.
const linked = true

// library is one listener, a gsv2_runtime.
type library uint64

func (l library) handle() C.gsv2_runtime { return C.gsv2_runtime(l) }

// call runs one call. The library keeps the words for an error by thread.
func call(f func() C.gsv2_result) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return failure(f())
}

// failure is the error of a result; on the thread of the call.
func failure(code C.gsv2_result) error {
	if code == resultOK {
		return nil
	}
	text := make([]byte, C.gsv2_last_error(nil, 0))
	if len(text) > 0 {
		C.gsv2_last_error((*C.char)(unsafe.Pointer(&text[0])), C.size_t(len(text)))
	}
	return &libraryError{code: int32(code), text: string(text)}
}

// chars is the memory of a text, nil for none.
func chars(text []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(text))) }

// newLibrary makes a listener. toml nil: the file at path is read.
func newLibrary(path string, toml []byte, threads int) (library, error) {
	name := []byte(path)
	if toml != nil && len(toml) == 0 {
		toml = []byte("\n") // an empty one has an address, too
	}
	var out C.gsv2_runtime
	err := call(func() C.gsv2_result {
		return C.make_runtime(chars(name), C.size_t(len(name)), chars(toml), C.size_t(len(toml)),
			C.uint32_t(threads), &out)
	})
	return library(out), err
}

// newEcho makes an echo, a listener without port and miners; maxInFlight: 1 to 1,048,576.
func newEcho(maxInFlight uint32) (library, error) {
	var out C.gsv2_runtime
	err := call(func() C.gsv2_result { return C.gsv2_runtime_new_echo(C.uint32_t(maxInFlight), &out) })
	return library(out), err
}

func (l library) start() error {
	return call(func() C.gsv2_result { return C.gsv2_runtime_start(l.handle()) })
}

func (l library) url() (string, error) {
	text := make([]byte, 512)
	var length C.size_t
	err := call(func() C.gsv2_result {
		return C.gsv2_runtime_url(l.handle(), chars(text), C.size_t(len(text)), &length)
	})
	if err != nil {
		return "", err
	}
	return string(text[:length]), nil
}

func (l library) eventFD() (int, error) {
	var fd C.int
	err := call(func() C.gsv2_result { return C.gsv2_runtime_event_fd(l.handle(), &fd) })
	return int(fd), err
}

func (l library) drain() error {
	return call(func() C.gsv2_result { return C.gsv2_runtime_drain(l.handle()) })
}

func (l library) hangUp(stream uint32) error {
	return call(func() C.gsv2_result {
		return C.gsv2_runtime_hang_up(l.handle(), C.uint32_t(stream))
	})
}

func (l library) free() error {
	return call(func() C.gsv2_result { return C.gsv2_runtime_free(l.handle()) })
}

// poll fills events and gives how many there were.
func (l library) poll(events []event) (int, error) {
	var count C.size_t
	code := C.gsv2_runtime_poll(l.handle(), (*C.gsv2_event)(unsafe.Pointer(unsafe.SliceData(events))),
		C.size_t(len(events)), &count)
	return int(count), plain(code)
}

// take copies a record, which has so many bytes.
func (l library) take(record uint64, length uint32) ([]byte, error) {
	buffer := make([]byte, length)
	var taken C.size_t
	code := C.gsv2_runtime_take(l.handle(), C.uint64_t(record),
		(*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(buffer))), C.size_t(len(buffer)), &taken)
	return buffer[:taken], plain(code)
}

func (l library) complete(stream uint32, verdicts []verdict) error {
	return plain(C.gsv2_runtime_complete(l.handle(), C.uint32_t(stream),
		(*C.gsv2_verdict)(unsafe.Pointer(unsafe.SliceData(verdicts))), C.size_t(len(verdicts))))
}

func (l library) control(stream uint32, message []byte) error {
	return plain(C.gsv2_runtime_control(l.handle(), C.uint32_t(stream),
		(*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(message))), C.size_t(len(message))))
}

func (l library) acknowledge(stream uint32, message []byte) error {
	return plain(C.gsv2_runtime_acknowledge(l.handle(), C.uint32_t(stream),
		(*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(message))), C.size_t(len(message))))
}

// plain is the error of a call that comes often: without words, which would pin it to a thread.
func plain(code C.gsv2_result) error {
	if code == resultOK {
		return nil
	}
	return &libraryError{code: int32(code), text: resultText(int32(code))}
}

// resultText is a result in words, for calls that don't ask the library for them.
func resultText(code int32) string {
	switch code {
	case resultTooShort:
		return "the buffer is too short"
	case resultNoRecord:
		return "no such record"
	case resultFull:
		return "too much waits for the listener"
	case resultStreamOver:
		return "the stream is over"
	default:
		return fmt.Sprintf("result %d of the library", code)
	}
}
