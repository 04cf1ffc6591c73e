// Command demosvg draws what a command printed in a recording of "make demo" as SVG: text
// in a fixed-width font, dark or light as the reader's system is.
//
//	demosvg -command "kubectl rotate-certs --service etcd" <bin/demo.txt >docs/demo.svg
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	command := flag.String("command", "kubectl rotate-certs --service etcd", "the command whose output is drawn")
	flag.Parse()
	if err := drawRecording(os.Stdin, os.Stdout, *command); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func drawRecording(in io.Reader, out io.Writer, command string) error {
	recorded, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read recording: %w", err)
	}
	lines, err := outputOf(command, string(recorded))
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, drawLines(lines))
	return err
}
