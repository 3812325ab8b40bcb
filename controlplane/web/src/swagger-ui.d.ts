// What the page uses of Swagger UI, which ships without types.
declare module "swagger-ui-dist/swagger-ui-es-bundle" {
  export default function SwaggerUI(options: {
    url: string;
    dom_id: string;
    deepLinking: boolean;
    docExpansion: "list" | "full" | "none";
    defaultModelsExpandDepth: number;
    displayRequestDuration: boolean;
    persistAuthorization: boolean;
    validatorUrl: string | null;
  }): void;
}
