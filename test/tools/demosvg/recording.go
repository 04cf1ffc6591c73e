package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// recording is what a command wrote to a terminal, and when.
type recording struct {
	command string // as it is shown
	columns int
	rows    int
	outputs []output
}

// output is what was written at once.
type output struct {
	at   time.Duration // since the start of the command
	text string
}

// asciicastHeader is the first line of an asciicast. Each further line is [seconds, "o", text].
type asciicastHeader struct {
	Version int    `json:"version"`
	Width   int    `json:"width"`
	Height  int    `json:"height"`
	Command string `json:"command"`
}

func (r recording) encodeAsciicast() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out) // a value, a line
	if err := encoder.Encode(asciicastHeader{Version: 2, Width: r.columns, Height: r.rows, Command: r.command}); err != nil {
		return nil, fmt.Errorf("write recording: %w", err)
	}
	for _, o := range r.outputs {
		if err := encoder.Encode([]any{o.at.Seconds(), "o", o.text}); err != nil {
			return nil, fmt.Errorf("write recording: %w", err)
		}
	}
	return out.Bytes(), nil
}

func decodeAsciicast(in io.Reader) (recording, error) {
	decoder := json.NewDecoder(in)
	var header asciicastHeader
	if err := decoder.Decode(&header); err != nil {
		return recording{}, fmt.Errorf("read recording: header: %w", err)
	}
	if header.Version != 2 || header.Width <= 0 || header.Height <= 0 {
		return recording{}, fmt.Errorf("read recording: header %+v is not of an asciicast of version 2", header)
	}
	r := recording{command: header.Command, columns: header.Width, rows: header.Height}
	for {
		o, isOutput, err := decodeOutput(decoder)
		switch {
		case errors.Is(err, io.EOF):
			return r, nil
		case err != nil:
			return recording{}, fmt.Errorf("read recording: output %d: %w", len(r.outputs)+1, err)
		case isOutput:
			r.outputs = append(r.outputs, o)
		}
	}
}

// decodeOutput reads a line. Lines that are not of output, such as of input, are left out.
func decodeOutput(decoder *json.Decoder) (o output, isOutput bool, err error) {
	var seconds float64
	var kind string
	fields := []any{&seconds, &kind, &o.text}
	if err := decoder.Decode(&fields); err != nil {
		return output{}, false, err
	}
	o.at = time.Duration(seconds * float64(time.Second))
	return o, kind == "o", nil
}

// refuseOwnPaths is an error where the recording holds a path of this machine, which no reader
// of the picture has.
func (r recording) refuseOwnPaths() error {
	var all strings.Builder
	for _, o := range r.outputs {
		all.WriteString(o.text)
	}
	directory, err := os.Getwd()
	if err != nil {
		return err
	}
	for _, path := range []string{directory, os.Getenv("HOME")} {
		if len(path) > 1 && strings.Contains(all.String(), path) {
			return fmt.Errorf("keep recording of %q: it shows %q, a path of this machine", r.command, path)
		}
	}
	return nil
}
