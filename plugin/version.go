package plugin

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// versionInfo is what `version -o json` prints.
type versionInfo struct {
	Version   string `json:"version"`
	GitCommit string `json:"gitCommit,omitempty"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
	NodeImage string `json:"nodeImage"`
}

func (a *app) versionCommand() *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:               "version",
		Short:             "Show the version, and the node image that belongs to it",
		Long:              "Show the version of this plugin, and the image that it runs on nodes. The cluster is not asked.",
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			info := versionInfo{
				Version: version.Version, GitCommit: version.GitCommit, GoVersion: runtime.Version(),
				Platform: runtime.GOOS + "/" + runtime.GOARCH, NodeImage: version.NodeImage(),
			}
			switch f := format(output); f {
			case formatJSON, formatYAML:
				return printDocument(a.Out, f, info)
			case formatTable:
				fmt.Fprintf(a.Out, "%s %s\nnode image %s\n", displayName, version.String(), info.NodeImage)
				return nil
			}
			return fmt.Errorf("unknown output format %q\nformats: json, yaml", output)
		},
	}
	plain(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output format: json, yaml")
	// kubectl's flag of the same name; here it is the only way there is.
	cmd.Flags().Bool("client", true, "The cluster is never asked")
	_ = cmd.Flags().MarkHidden("client") // it exists, see the line above
	complete(cmd, "output", cobra.FixedCompletions([]string{string(formatJSON), string(formatYAML)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
