package plugin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// standInNode is a node program that carries out every order at once, and answers everything else
// with a file of its host's directory.
func standInNode() {
	n := standIn{dir: os.Getenv("FAKE_HOST")}
	n.appendTo("calls", strings.Join(os.Args[1:], " "))
	switch os.Args[1] {
	case nodeapi.CommandOrder:
		var o nodeapi.Order
		n.must(json.NewDecoder(os.Stdin).Decode(&o))
		n.appendTo("calls", "  "+string(o.Kind))
		n.carryOut(o)
		fmt.Println(`{"accepted":true}`)
	case nodeapi.CommandFollow:
		n.print("records")
	default:
		n.print(os.Args[1] + ".json")
	}
}

type standIn struct{ dir string }

func (standIn) must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (n standIn) appendTo(name, line string) {
	file, err := os.OpenFile(filepath.Join(n.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	n.must(err)
	_, err = io.WriteString(file, line+"\n")
	n.must(err)
	n.must(file.Close())
}

func (n standIn) print(name string) {
	data, err := os.ReadFile(filepath.Join(n.dir, name))
	n.must(err)
	_, err = os.Stdout.Write(data)
	n.must(err)
}

func (n standIn) carryOut(o nodeapi.Order) {
	answers := map[nodeapi.OrderKind]nodeapi.Kind{
		nodeapi.OrderStage: nodeapi.Staged, nodeapi.OrderCommit: nodeapi.Committed, nodeapi.OrderFinish: nodeapi.Finished, nodeapi.OrderAbandon: nodeapi.Abandoned}
	if o.Step != nil {
		step, err := json.Marshal(o.Step)
		n.must(err)
		n.must(os.WriteFile(filepath.Join(n.dir, "step"), step, 0o600))
	}
	answer := nodeapi.Record{Kind: answers[o.Kind]}
	if o.Kind == nodeapi.OrderCommit {
		var step plan.Step
		data, err := os.ReadFile(filepath.Join(n.dir, "step"))
		n.must(err)
		n.must(json.Unmarshal(data, &step))
		n.record(o, nodeapi.Record{Kind: nodeapi.Committing})
		for _, t := range step.Targets {
			n.record(o, nodeapi.Record{Kind: nodeapi.Verified, Evidence: &nodeapi.Evidence{TargetID: t.ID, Service: t.Service, Method: nodeapi.Handshake, Detail: "it serves it"}})
			answer.Renewals = append(answer.Renewals, inventory.Renewal{ID: t.ID})
		}
	}
	if answer.Kind != "" {
		n.record(o, answer)
	}
}

func (n standIn) record(o nodeapi.Order, r nodeapi.Record) {
	earlier, _ := os.ReadFile(filepath.Join(n.dir, "records")) // none before the first
	r.Seq = int64(strings.Count(string(earlier), "\n") + 1)
	r.Time, r.Rotation, r.Token, r.OrderID = time.Unix(0, 0), o.Rotation, o.Token, o.ID
	r.Node = filepath.Base(n.dir)
	line, err := json.Marshal(r)
	n.must(err)
	n.appendTo("records", string(line))
}
