// Command demosvg records what a command writes to a terminal, and draws the recording as an
// animated SVG.
//
//	demosvg record -as "kubectl rotate-certs --service etcd" -o FILE COMMAND [ARGUMENT …]
//	demosvg draw <FILE >docs/demo.svg
//
// FILE is an asciicast, version 2: "asciinema play" shows it, too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := runCommand(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func runCommand(ctx context.Context, arguments []string, in io.Reader, out io.Writer) error {
	switch {
	case len(arguments) > 0 && arguments[0] == "record":
		return recordToFile(ctx, arguments[1:], out)
	case len(arguments) == 1 && arguments[0] == "draw":
		return drawRecording(in, out)
	}
	return errors.New("usage: demosvg record -as TEXT -o FILE COMMAND [ARGUMENT …], or demosvg draw <FILE")
}

func recordToFile(ctx context.Context, arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("record", flag.ContinueOnError)
	as := flags.String("as", "", "the command line that is shown for the command")
	path := flags.String("o", "", "the file to write")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *as == "" || *path == "" || flags.NArg() == 0 {
		return errors.New("record needs -as, -o and a command")
	}
	r, err := recordCommand(ctx, *as, flags.Args(), out)
	if err != nil {
		return err
	}
	if err := r.refuseOwnPaths(); err != nil {
		return err
	}
	encoded, err := r.encodeAsciicast()
	if err != nil {
		return err
	}
	return os.WriteFile(*path, encoded, 0o600)
}

func drawRecording(in io.Reader, out io.Writer) error {
	r, err := decodeAsciicast(in)
	if err != nil {
		return err
	}
	drawing, err := r.drawSVG()
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, drawing)
	return err
}
