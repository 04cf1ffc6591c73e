package plugin

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// versionInfo is the output of `version -o json`.
type versionInfo struct {
	Version   string `json:"version"`
	GitCommit string `json:"gitCommit,omitempty"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
	NodeImage string `json:"nodeImage"`
	// Installed is absent where nothing is installed, or it is unknown.
	Installed *installedVersions `json:"installed,omitempty"`
	// Unknown says why the installed versions are unknown.
	Unknown string `json:"unknown,omitempty"`
	// Skew says which side is older and how to update it.
	Skew string `json:"skew,omitempty"`
}

// installedVersions are those of the watcher and the agents.
type installedVersions struct {
	Namespace string `json:"namespace"`
	Watcher   string `json:"watcher,omitempty"`
	Agents    string `json:"agents,omitempty"`
	// ManagedBy says which tool applies the installation; empty: this plugin or kubectl.
	ManagedBy string `json:"managedBy,omitempty"`
}

func (a *app) versionCommand(flags *connectionFlags) *cobra.Command {
	output := ""
	client := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this plugin and of what is installed in the cluster",
		Long: `Show the version of this plugin, the image that it runs on nodes, and the versions of
the watcher and the agents where they are installed. A cluster that does not answer
within 5 seconds is no error.`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info := versionInfo{
				Version: version.Version, GitCommit: version.GitCommit, GoVersion: runtime.Version(),
				Platform: runtime.GOOS + "/" + runtime.GOARCH, NodeImage: version.NodeImage(),
			}
			if !client {
				var err error
				if info.Installed, err = installedIn(cmd.Context(), flags); err != nil {
					info.Unknown = hint.TextOf(err)
				}
				info.Skew = versionSkew(info.Version, info.Installed, flags.commandLine())
			}
			switch f := printers.Format(output); f {
			case printers.JSON, printers.YAML:
				return printers.PrintDocument(a.Out, f, info)
			case printers.Table:
				info.printVersions(a.Out, client)
				return nil
			}
			return hint.AddTo(fmt.Errorf("unknown output format %q", output), "want one of json, yaml")
		},
	}
	cmd.Flags().BoolVar(&client, "client", false, "Show this plugin's version only, without a request to the cluster")
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output format: json, yaml")
	completeFlag(cmd, "output", cobra.FixedCompletions([]string{string(printers.JSON), string(printers.YAML)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (i versionInfo) printVersions(w io.Writer, client bool) {
	fmt.Fprintf(w, "%s %s\nnode image %s\n", displayName, version.String(), i.NodeImage)
	switch {
	case client:
	case i.Unknown != "":
		text, _, _ := strings.Cut(i.Unknown, "\n")
		fmt.Fprintf(w, "installed: unknown (%s)\n", printers.CleanText(text))
	case i.Installed == nil:
		fmt.Fprintln(w, "installed: nothing")
	default:
		fmt.Fprintf(w, "installed in namespace %s: %s\n", printers.CleanText(i.Installed.Namespace), printers.CleanText(i.Installed.versionsInWords()))
	}
	if i.Skew != "" {
		fmt.Fprintln(w, printers.CleanText(i.Skew))
	}
}

func (v *installedVersions) versionsInWords() string {
	var parts []string
	if v.Watcher != "" {
		parts = append(parts, "watcher "+v.Watcher)
	}
	if v.Agents != "" {
		parts = append(parts, "agents "+v.Agents)
	}
	return strings.Join(parts, ", ")
}

// installedIn reads which versions are installed; nil: none. It respects its timeout also where
// the kubeconfig runs a credential plugin, which may wait for a login.
func installedIn(ctx context.Context, flags *connectionFlags) (*installedVersions, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	type answer struct {
		installed *installedVersions
		err       error
	}
	answers := make(chan answer, 1)
	go func() {
		installed, err := readInstalled(ctx, flags)
		answers <- answer{installed, err}
	}()
	select {
	case a := <-answers:
		return a.installed, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("read what is installed: %w", ctx.Err())
	}
}

func readInstalled(ctx context.Context, flags *connectionFlags) (*installedVersions, error) {
	conn, err := flags.newConnection()
	if err != nil {
		return nil, err
	}
	api, err := openObjects(conn)
	if err != nil {
		return nil, err
	}
	found, err := api.findInstallation(ctx, "")
	if found == nil || err != nil {
		return nil, err
	}
	return found.installedVersions(), nil
}

func (i *installation) installedVersions() *installedVersions {
	managedBy, _ := i.managedBy()
	out := &installedVersions{Namespace: i.namespace, ManagedBy: managedBy}
	if i.watcher != nil {
		out.Watcher = versionOf(i.watcher)
	}
	if i.agents != nil {
		out.Agents = versionOf(i.agents)
	}
	return out
}

// versionOf is the version in an object's label, "unknown" where it has none.
func versionOf(o metav1.Object) string {
	if v := o.GetLabels()[kube.LabelVersion]; v != "" {
		return v
	}
	return "unknown"
}

// versionSkew says which side is older and how to update it; empty where all are the same, or
// nothing is installed. A label has no "+", so build metadata after it is not compared.
func versionSkew(plugin string, installed *installedVersions, command string) string {
	if installed == nil {
		return ""
	}
	for _, theirs := range []string{installed.Watcher, installed.Agents} {
		switch {
		case isOlder(theirs, plugin) && installed.ManagedBy != "":
			return "The installation is older than this plugin. It is updated by " + installed.ManagedBy
		case isOlder(theirs, plugin):
			return fmt.Sprintf("The installation is older than this plugin. To update it: %s install", command)
		case isOlder(plugin, theirs):
			return "This plugin is older than the installation. To update it: kubectl krew upgrade rotate-certs"
		}
	}
	return ""
}

// isOlder reports whether a version is older than another; false where one cannot be parsed.
func isOlder(a, b string) bool {
	v, err := utilversion.ParseSemantic(a)
	w, err2 := utilversion.ParseSemantic(b)
	return err == nil && err2 == nil && v.LessThan(w)
}
