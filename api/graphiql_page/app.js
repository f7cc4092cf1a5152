"use strict";

const DEFAULT_QUERY = `# 欢迎使用闽政通政务服务接口。
# 左侧书写查询，按 Ctrl-Enter 运行；右上角的书本图标可查看接口文档。

# 首页：二十一个分类及其事项数量
query Categories {
  categories {
    code
    name
    itemCount
  }
}

# 搜索：支持中文、全拼、首字母和常用别名（试试 shebao、sbk、驾照）
query Search($text: String = "社保卡", $first: Int = 5) {
  searchServiceItems(text: $text, first: $first) {
    totalCount
    edges {
      node {
        id
        name
        division {
          name
        }
        department {
          name
        }
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`;

window.addEventListener("DOMContentLoaded", () => {
  const fetcher = GraphiQL.createFetcher({ url: "/graphql" });
  const page = React.createElement(GraphiQL, {
    fetcher,
    defaultQuery: DEFAULT_QUERY,
    defaultEditorToolsVisibility: true,
    isHeadersEditorEnabled: true,
    shouldPersistHeaders: false,
  });
  ReactDOM.createRoot(document.getElementById("graphiql")).render(page);
});
